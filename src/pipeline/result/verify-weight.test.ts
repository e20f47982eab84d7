// Properties of quantizing, over many random weights: what is stored reads back, no farther off than half a step, and
// quantizing it again changes nothing.

import { describe, expect, it } from "vitest";
import {
  cellGrid,
  codeStorage,
  compressionFormat,
  packsZeroPoints,
  scaleStorage,
} from "../../formats/schemes/compression-format.ts";
import {
  dequantizeRows,
  type QuantizedWeight,
  type RowParts,
  rowRanges,
} from "../../formats/weights/dequantize.ts";
import { type FloatDtype, narrowFromFloat32, roundTo } from "../../formats/numbers/dtype.ts";
import { numberToE4m3 } from "../../formats/numbers/fp8.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { numberToE8m0 } from "../../formats/numbers/mx-scale.ts";
import { packStream } from "../../formats/numbers/packing.ts";
import {
  activationArgs,
  type QuantizationArgs,
  weightArgs,
} from "../../formats/schemes/quantization-args.ts";
import {
  codeValue,
  type Qparams,
  referenceCodes,
  referenceQparams,
  type ReferenceWeight,
} from "../../quantize/rtn/reference.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { checkInRange, checkRounded } from "./verify-weight.ts";

const CASES = 3_000;
/** Combinations of type, bits, strategy, symmetry and dtype that the cases are drawn from; all of them have to come up. */
const KINDS = 198;
const int8Token = activationArgs({ strategy: "token", dynamic: true });

interface Case {
  readonly weight: QuantizedWeight;
  readonly source: ReferenceWeight;
  readonly globalScale: number | null;
}

type Random = () => number;

function whole(random: Random, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

function pick<Item>(random: Random, items: readonly [Item, ...Item[]]): Item {
  return items[whole(random, 0, items.length - 1)] ?? items[0];
}

function randomArgs(random: Random): { args: QuantizationArgs; columns: number } {
  const columns = whole(random, 1, 40);
  const kind = pick(random, ["int", "int", "int", "fp8", "nvfp4", "mx"] as const);
  if (kind === "mx") {
    const mx = { type: "float", strategy: "group", group_size: 32, scale_dtype: "torch.uint8" } as const;
    return { args: weightArgs({ ...mx, num_bits: pick(random, [4, 8]) }), columns: 32 * whole(random, 1, 2) };
  }
  if (kind === "nvfp4") {
    const scale_dtype = "torch.float8_e4m3fn" as const;
    const args = {
      num_bits: 4,
      type: "float",
      strategy: "tensor_group",
      group_size: 16,
      scale_dtype,
    } as const;
    return { args: weightArgs(args), columns: 16 * whole(random, 1, 3) };
  }
  const strategy = pick(random, ["tensor", "channel", "group", "block"] as const);
  const group_size = strategy === "group" ? whole(random, 1, 16) : null;
  const block_structure = strategy === "block" ? ([whole(random, 1, 4), whole(random, 1, 9)] as const) : null;
  const shape = { strategy, group_size, block_structure };
  if (kind === "fp8") {
    return {
      args: weightArgs({ type: "float", ...shape }),
      columns: (group_size ?? 1) * Math.ceil(columns / 8),
    };
  }
  const num_bits = whole(random, 1, 8);
  const symmetric = num_bits === 1 || random() < 0.5;
  const args = weightArgs({ num_bits, symmetric, ...shape });
  return { args, columns: group_size ? group_size * whole(random, 1, 4) : columns };
}

function randomCase(random: Random): Case {
  const { args, columns } = randomArgs(random);
  const rows = whole(random, 1, 5);
  const dtype = pick(random, ["BF16", "F16", "F32"] as const);
  const activations = args.type === "int" && random() < 0.3 ? int8Token : null;
  const format = compressionFormat({ weights: args, input_activations: activations });
  const spread = 2 ** whole(random, -6, 4);
  const shift = random() < 0.2 ? spread : 0;
  const values = randomNormal(rows * columns, random, spread).map((value) => roundTo(dtype, value + shift));
  const amax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return {
    weight: { args, format, dtype, rows, columns },
    source: { values, dtype, rows, columns },
    globalScale: args.strategy === "tensor_group" ? globalScale(amax, dtype) : null,
  };
}

/** Codes, scales and zero points as they lie in the file. */
function store({ weight, globalScale: shared }: Case, codes: Int32Array, qparams: Qparams): RowParts {
  const { args, format, dtype, rows, columns } = weight;
  const { storedBits, storedOffset, rowsPadded } = codeStorage(args, format);
  const streams = rowsPadded
    ? Array.from({ length: rows }, (_, row) => codes.subarray(row * columns, (row + 1) * columns))
    : [codes];
  const packed = streams.flatMap((stream) => [...bytesOf(packStream(stream, storedBits, storedOffset))]);
  const { codes: range } = rowRanges(weight, 0, rows);
  return {
    codes: Uint8Array.from(packed.slice(0, range.end)),
    scales: storedScales(args, dtype, qparams.scales),
    zeroPoints: args.symmetric ? null : storedZeroPoints(weight, qparams.zeroPoints),
    globalScale: shared,
    groupIndex: null,
  };
}

function storedScales(args: QuantizationArgs, dtype: FloatDtype, scales: Float32Array): Uint8Array {
  const storage = scaleStorage(args);
  if (storage === "dtype") return narrowFromFloat32(dtype, scales);
  return Uint8Array.from(scales, storage === "e4m3" ? numberToE4m3 : numberToE8m0);
}

function storedZeroPoints(
  { args, format, rows, columns }: QuantizedWeight,
  zeroPoints: Int32Array,
): Uint8Array {
  if (!packsZeroPoints(args, format)) return new Uint8Array(Int8Array.from(zeroPoints).buffer);
  const { cellsPerColumn, cellsPerRow } = cellGrid(args, rows, columns);
  const streams = Array.from({ length: cellsPerRow }, (_, cell) => {
    const own = Int32Array.from(
      { length: cellsPerColumn },
      (__, row) => zeroPoints[row * cellsPerRow + cell] ?? 0,
    );
    return packStream(own, args.num_bits, 2 ** (args.num_bits - 1));
  });
  const words = streams[0]?.length ?? 0;
  return bytesOf(
    Uint32Array.from(
      { length: words * cellsPerRow },
      (_, at) => streams[at % cellsPerRow]?.[Math.floor(at / cellsPerRow)] ?? 0,
    ),
  );
}

function bytesOf(words: Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}

/** A dtype that holds what a code means exactly enough to find it again; bfloat16 does for four bits. */
function isStable({ args, dtype }: QuantizedWeight): boolean {
  return dtype === "F32" || (args.num_bits <= 4 && args.symmetric);
}

describe("a quantized weight", () => {
  it(
    `of ${CASES} random ones reads back within half a step, and to the same codes`,
    { timeout: 60_000 },
    () => {
      const random = seededRandom(11);
      const kinds = new Set<string>();
      for (let turn = 0; turn < CASES; turn++) {
        const one = randomCase(random);
        const { weight, source } = one;
        const { args, rows, columns } = weight;
        kinds.add([args.type, args.num_bits, args.strategy, args.symmetric, weight.dtype].join(" "));
        const grid = cellGrid(args, rows, columns);
        const known = { range: null, globalScale: one.globalScale };
        const qparams = referenceQparams(source, args, grid, known);
        const codes = referenceCodes(source, args, grid, qparams, one.globalScale ?? 0);
        const parts = store(one, codes, qparams);
        const sample = { module: JSON.stringify(weight), weight, firstRow: 0, rows, parts };
        checkInRange(sample);
        checkRounded(sample, source.values);
        if (!isStable(weight)) continue;
        const values = dequantizeRows(weight, 0, rows, parts);
        const again = referenceCodes({ ...source, values }, args, grid, qparams, one.globalScale ?? 0);
        const meaning = (all: Int32Array) => Array.from(all, (code) => codeValue(code, 0, args) + 0);
        expect(meaning(again)).toEqual(meaning(codes));
      }
      expect(kinds.size).toBe(KINDS);
    },
  );

  it("may lie as far beyond its largest code as hessian_mse cuts ranges off", () => {
    const args = weightArgs({ num_bits: 4, strategy: "channel", observer: "hessian_mse" });
    const weight = { args, format: "pack-quantized", dtype: "F32", rows: 1, columns: 8 } as const;
    const values = Float32Array.of(-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 3, 7.5);
    const source = { values, dtype: "F32", rows: 1, columns: 8 } as const;
    const qparams = { scales: Float32Array.of((7.5 * 0.46) / 7.5), zeroPoints: Int32Array.of(0) };
    const one = { weight, source, globalScale: null };
    const codes = referenceCodes(source, args, cellGrid(args, 1, 8), qparams, 0);
    const sample = { module: "m", weight, firstRow: 0, rows: 1, parts: store(one, codes, qparams) };
    expect(() => checkRounded(sample, values)).not.toThrow();
    const plain = { ...weight, args: { ...args, observer: "memoryless_minmax" } } as const;
    expect(() => checkRounded({ ...sample, weight: plain }, values)).toThrow("the source has 7.5");
  });

  it("may lie beyond a last code that means 0, where a search has cut its range off", () => {
    const args = weightArgs({ num_bits: 3, strategy: "channel", symmetric: false, observer: "mse" });
    const weight = { args, format: "pack-quantized", dtype: "F32", rows: 1, columns: 8 } as const;
    // Cut to 0.8 of it, the range from -7 to 0.55 has steps of 0.863, and its largest code is the zero point.
    const values = Float32Array.of(-7, -6, -5, -4, -3, -2, -1, 0.55);
    const source = { values, dtype: "F32", rows: 1, columns: 8 } as const;
    const qparams = { scales: Float32Array.of((0.8 * 7.55) / 7), zeroPoints: Int32Array.of(3) };
    const one = { weight, source, globalScale: null };
    const codes = referenceCodes(source, args, cellGrid(args, 1, 8), qparams, 0);
    const sample = { module: "m", weight, firstRow: 0, rows: 1, parts: store(one, codes, qparams) };
    expect(codes[7]).toBe(3);
    expect(() => checkRounded(sample, values)).not.toThrow();
    const far = values.with(7, 1.1);
    expect(() => checkRounded(sample, far)).toThrow("reads back as 0, but the source has 1.1");
  });

  it.each([
    ["F16", 2 ** -24],
    ["BF16", 2 ** -133],
  ] as const)(
    "may lie as far beyond its last code as a subnormal scale of %s is rounded off",
    (dtype, least) => {
      const args = weightArgs({ num_bits: 4, strategy: "channel", symmetric: false });
      const weight = { args, format: "pack-quantized", dtype, rows: 1, columns: 8 } as const;
      // 15 steps of 1.4 of the least numbers, whose scale is one of them: 0 is the code 3, and 12 are left above it.
      const values = Float32Array.of(-10, -8, -6, -4, 4, 6, 8, 11).map((value) => value * least);
      const source = { values, dtype, rows: 1, columns: 8 };
      const qparams = referenceQparams(source, args, cellGrid(args, 1, 8));
      expect(qparams.scales).toEqual(Float32Array.of(least));
      const codes = referenceCodes(source, args, cellGrid(args, 1, 8), qparams, 0);
      const one = { weight, source, globalScale: null };
      const sample = { module: "m", weight, firstRow: 0, rows: 1, parts: store(one, codes, qparams) };
      expect(() => checkRounded(sample, values)).not.toThrow();
      const far = values.with(7, 18 * least);
      expect(() => checkRounded(sample, far)).toThrow("row 0, column 7, reads back as");
    },
  );

  it("may be rounded once more where what its code means is subnormal", () => {
    const args = weightArgs({ num_bits: 8, type: "float", strategy: "channel" });
    const weight = { args, format: "float-quantized", dtype: "F32", rows: 64, columns: 64 } as const;
    const values = randomNormal(64 * 64, seededRandom(4)).map((value) => value * 2 ** -139);
    const source = { values, dtype: "F32", rows: 64, columns: 64 } as const;
    const qparams = referenceQparams(source, args, cellGrid(args, 64, 64));
    const codes = referenceCodes(source, args, cellGrid(args, 64, 64), qparams, 0);
    const one = { weight, source, globalScale: null };
    const sample = { module: "m", weight, firstRow: 0, rows: 64, parts: store(one, codes, qparams) };
    expect(() => checkRounded(sample, values)).not.toThrow();
  });

  it("is refused if a code is exchanged for one two steps away", () => {
    const args = weightArgs({ num_bits: 4, strategy: "channel" });
    const weight = { args, format: "pack-quantized", dtype: "F32", rows: 1, columns: 8 } as const;
    const values = Float32Array.of(-7, -5, -3, -1, 1, 3, 5, 7.5);
    const codes = Int32Array.of(-7, -5, -3, -1, 1, 3, 5, 7);
    const one = { weight, source: { values, dtype: "F32", rows: 1, columns: 8 }, globalScale: null } as const;
    const sampleOf = (own: Int32Array) => {
      const parts = store(one, own, { scales: Float32Array.of(1), zeroPoints: Int32Array.of(0) });
      return { module: "m", weight, firstRow: 0, rows: 1, parts };
    };
    expect(() => checkRounded(sampleOf(codes), values)).not.toThrow();
    codes[3] = 1;
    expect(() => checkRounded(sampleOf(codes), values)).toThrow(
      "m: the weight at row 0, column 3, reads back as 1, but the source has -1",
    );
  });
});
