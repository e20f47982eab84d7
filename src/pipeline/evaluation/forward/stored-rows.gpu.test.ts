import { describe, expect, it } from "vitest";
import { readRows } from "../../../evaluate/weights/weight-values.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { cellGrid, compressionFormat, packsZeroPoints } from "../../../formats/schemes/compression-format.ts";
import { widenToFloat32 } from "../../../formats/numbers/dtype.ts";
import { packStream } from "../../../formats/numbers/packing.ts";
import { type QuantizationArgs, weightArgs } from "../../../formats/schemes/quantization-args.ts";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { seededRandom } from "../../../testing/random.ts";
import { openStoredRows } from "./stored-rows.ts";

const [ROWS, COLUMNS] = [38, 64];
const LINEAR: Linear = {
  module: "proj",
  rows: ROWS,
  columns: COLUMNS,
  bias: null,
  source: { tensor: "proj.weight", shape: [ROWS, COLUMNS], firstRow: 0 },
};

interface Stored {
  readonly dtype: "BF16" | "F32" | "I8" | "I32" | "U8" | "F8_E4M3";
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A weight whose bytes are random, but for what would be NaN. */
function randomWeight(weights: QuantizationArgs | null, activations: QuantizationArgs | null): StoredModel {
  const random = seededRandom(3);
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => Math.floor(random() * 0x77));
  const floats = (count: number) =>
    new Uint8Array(Float32Array.from({ length: count }, () => random() + 0.01).buffer);
  const tensors = new Map<string, Stored>();
  const set = (part: string, dtype: Stored["dtype"], data: Uint8Array<ArrayBuffer>) =>
    tensors.set(`proj.${part}`, { dtype, bytes: data });
  const scheme = weights && { weights, input_activations: activations };
  if (!scheme || !weights) set("weight", "BF16", bytes(ROWS * COLUMNS * 2));
  else {
    const format = compressionFormat(scheme);
    const { cellsPerRow, cellsPerColumn } = cellGrid(weights, ROWS, COLUMNS);
    const cells = cellsPerRow * cellsPerColumn;
    const isFp4 = weights.type === "float" && weights.num_bits === 4;
    if (format === "pack-quantized") {
      const row = Math.ceil((COLUMNS * weights.num_bits) / 32) * 4;
      set("weight_packed", "I32", bytes(ROWS * row));
    } else if (isFp4) set("weight_packed", "U8", bytes((ROWS * COLUMNS) / 2));
    else set("weight", weights.type === "int" ? "I8" : "F8_E4M3", bytes(ROWS * COLUMNS));
    if (weights.scale_dtype === "torch.float8_e4m3fn") set("weight_scale", "F8_E4M3", bytes(cells));
    else set("weight_scale", "F32", floats(cells));
    if (weights.strategy === "tensor_group") set("weight_global_scale", "F32", floats(1));
    if (!weights.symmetric && packsZeroPoints(weights, format)) {
      const columns = Array.from({ length: cellsPerRow }, () =>
        packStream(
          Int32Array.from({ length: cellsPerColumn }, () => Math.floor(random() * 16) - 8),
          weights.num_bits,
          2 ** (weights.num_bits - 1),
        ),
      );
      const words = columns[0]?.length ?? 0;
      const packed = Uint32Array.from(
        { length: words * cellsPerRow },
        (_, at) => columns[at % cellsPerRow]?.[Math.floor(at / cellsPerRow)] ?? 0,
      );
      set("weight_zero_point", "I32", new Uint8Array(packed.buffer));
    } else if (!weights.symmetric) set("weight_zero_point", "I8", bytes(cells));
  }
  return {
    tensor(name: string) {
      const found = tensors.get(name);
      return found ? { name, dtype: found.dtype, shape: [] } : null;
    },
    read: async (name: string, span?: { start: number; end: number }) =>
      await Promise.resolve(tensors.get(name)?.bytes.slice(span?.start, span?.end) ?? new Uint8Array()),
    schemeOf: () => scheme,
  } as unknown as StoredModel;
}

const group = weightArgs({ num_bits: 4, strategy: "group", group_size: 32 });
const channel = weightArgs({ num_bits: 8, strategy: "channel" });
const WEIGHTS: readonly {
  name: string;
  weights: QuantizationArgs | null;
  activations?: QuantizationArgs;
}[] = [
  { name: "plain bfloat16", weights: null },
  { name: "int4 in groups", weights: group },
  { name: "int4 with packed zero points", weights: { ...group, symmetric: false } },
  { name: "int3, on the host", weights: { ...group, num_bits: 3 } },
  { name: "int8 packed", weights: { ...group, num_bits: 8 } },
  { name: "int8 in bytes with zero points", weights: { ...channel, symmetric: false }, activations: channel },
  { name: "e4m3 with a scale a tensor", weights: { ...channel, type: "float", strategy: "tensor" } },
  {
    name: "e4m3 in blocks",
    weights: { ...channel, type: "float", strategy: "block", block_structure: [16, 32] },
  },
  {
    name: "NVFP4",
    weights: weightArgs({
      num_bits: 4,
      type: "float",
      strategy: "tensor_group",
      group_size: 16,
      scale_dtype: "torch.float8_e4m3fn",
    }),
  },
];

describe("rows of a stored weight on the GPU", () => {
  it.each(WEIGHTS)("have the bits that the host gives them: $name", async ({ weights, activations }) => {
    const model = randomWeight(weights, activations ?? null);
    using test = await openTestGpu();
    using uploads = await UploadRing.create(test.gpu, { pieceBytes: 65_536, pieces: 1 });
    using rows = await openStoredRows(test.gpu, uploads, model, [LINEAR]);
    const isPlain = weights === null;
    // From a row within a block on, behind two rows that stay as they are, with room after each row.
    const [first, count, stride, at] = [5, 30, COLUMNS + 8, 2];
    const bytesEach = isPlain ? 2 : 4;
    using weight = await test.empty("weight", (count + at) * stride * bytesEach);
    await rows.write(LINEAR, first, count, { weight, stride, at });
    const expected = await readRows(model, LINEAR, first, count);
    const found = await test.readBytes(weight);
    const rowsFound = Array.from({ length: count }, (_, row) => {
      const start = (row + at) * stride * bytesEach;
      return found.slice(start, start + COLUMNS * bytesEach);
    });
    const values = rowsFound.flatMap((own) => Array.from(widenToFloat32(isPlain ? "BF16" : "F32", own)));
    expect(values).toEqual(Array.from(expected));
    expect(found.slice(0, at * stride * bytesEach).every((byte) => byte === 0)).toBe(true);
  });
});
