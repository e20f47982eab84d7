import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CellGrid, cellGrid, codeStorage, compressionFormat } from "../../formats/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/dtype.ts";
import { numberToE4m3 } from "../../formats/fp8.ts";
import { packStream } from "../../formats/packing.ts";
import { activationArgs, type QuantizationArgs, weightArgs } from "../../formats/quantization-args.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { openTestGpu, type TestGpu } from "../../testing/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import {
  quantizeTile,
  type RtnTask,
  TILE_BUFFER_NAMES,
  tileBufferBytes,
  type TileBuffers,
} from "./quantize-tile.ts";
import { cellOf, referenceCodes, referenceQparams, scaledValue } from "./reference.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

const dynamicToken = activationArgs({ strategy: "token", dynamic: true });

interface Case {
  readonly label: string;
  readonly weights: QuantizationArgs;
  readonly activations?: QuantizationArgs;
}

const CASES: readonly Case[] = [
  { label: "W4A16", weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 32 }) },
  {
    label: "W4A16_ASYM",
    weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 32, symmetric: false }),
  },
  { label: "W3A16", weights: weightArgs({ num_bits: 3, strategy: "group", group_size: 64 }) },
  { label: "W8A16", weights: weightArgs({ num_bits: 8, strategy: "group", group_size: 32 }) },
  { label: "W8A8", weights: weightArgs({ num_bits: 8, strategy: "channel" }), activations: dynamicToken },
  {
    label: "FP8_DYNAMIC",
    weights: weightArgs({ num_bits: 8, type: "float", strategy: "channel" }),
    activations: dynamicToken,
  },
];

const DTYPES: readonly FloatDtype[] = ["BF16", "F16", "F32"];

/** Weights of very different rows: plain, tiny, zero, constant, with one large value. */
function hardWeights(rows: number, columns: number, dtype: FloatDtype): Float32Array {
  const values = randomNormal(rows * columns, seededRandom(7), 0.02);
  values.fill(0, columns, 2 * columns);
  values.fill(0.0117, 2 * columns, 3 * columns);
  values[3 * columns] = 5;
  for (let column = 0; column < columns; column++) {
    values[4 * columns + column] = (values[4 * columns + column] ?? 0) * 1e-3;
  }
  return widenToFloat32(dtype, narrowFromFloat32(dtype, values));
}

async function makeBuffers(task: RtnTask): Promise<TileBuffers & Disposable> {
  const sizes = tileBufferBytes(task, task.rows);
  const made = await test.gpu.memory.allocateAll(
    TILE_BUFFER_NAMES.map((name) => ({ label: name, bytes: sizes[name] })),
  );
  const named = Object.fromEntries(TILE_BUFFER_NAMES.map((name, index) => [name, made[index]]));
  return {
    ...(named as Record<keyof TileBuffers, LedgerBuffer>),
    [Symbol.dispose]() {
      for (const buffer of made) buffer[Symbol.dispose]();
    },
  };
}

function taskOf({ weights, activations }: Case, dtype: FloatDtype, rows: number, columns: number): RtnTask {
  const format = compressionFormat({ weights, input_activations: activations ?? null });
  return { module: "m", dtype, rows, columns, weights, format };
}

async function upload(task: RtnTask, values: Float32Array, buffers: TileBuffers): Promise<void> {
  const bytes = narrowFromFloat32(task.dtype, values);
  using staged = await test.upload("weight bytes", bytes);
  await test.gpu.queue.copy({ of: staged, offset: 0 }, { of: buffers.source, offset: 0 }, staged.bytes);
  await test.gpu.queue.idle();
}

async function run(task: RtnTask, values: Float32Array): Promise<Map<string, Uint8Array>> {
  using buffers = await makeBuffers(task);
  await upload(task, values, buffers);
  const parts = await quantizeTile(test.gpu, task, 0, task.rows, buffers);
  const result = new Map<string, Uint8Array>();
  for (const part of parts) result.set(part.tensor, await test.readBytes(part.buffer, part.bytes));
  result.set("nonfinite", await test.readBytes(buffers.nonfinite, 8));
  return result;
}

function expectedCodes(task: RtnTask, values: Float32Array): Uint8Array {
  const weight = { values, dtype: task.dtype, rows: task.rows, columns: task.columns };
  const grid = cellGrid(task.weights, task.rows, task.columns);
  const qparams = referenceQparams(weight, task.weights, grid);
  if (task.weights.type === "float") {
    return Uint8Array.from(values, (value, index) => {
      const scale = qparams.scales[cellOf(weight, grid, index)] ?? 1;
      return numberToE4m3(scaledValue(value, scale, 0, task.weights, task.dtype));
    });
  }
  const codes = referenceCodes(weight, task.weights, grid, qparams);
  const storage = codeStorage(task.weights, task.format);
  if (!storage.rowsPadded) return new Uint8Array(Int8Array.from(codes).buffer);
  const rows = Array.from({ length: task.rows }, (_, row) =>
    packStream(
      codes.subarray(row * task.columns, (row + 1) * task.columns),
      storage.storedBits,
      storage.storedOffset,
    ),
  );
  return new Uint8Array(Uint32Array.from(rows.flatMap((row) => [...row])).buffer);
}

/** Packed along the rows: word r of column c holds the zero points of group c. Undefined for symmetric schemes. */
function expectedZeroPoints(task: RtnTask, grid: CellGrid, zeroPoints: Int32Array): Uint8Array | undefined {
  if (task.weights.symmetric) return undefined;
  const bits = task.weights.num_bits;
  const columns = Array.from({ length: grid.cellsPerRow }, (_, column) =>
    packStream(
      zeroPoints.filter((_zp, cell) => cell % grid.cellsPerRow === column),
      bits,
      2 ** (bits - 1),
    ),
  );
  const words = Array.from({ length: columns[0]?.length ?? 0 }, (_, word) =>
    columns.map((column) => column[word] ?? 0),
  );
  return new Uint8Array(Uint32Array.from(words.flat()).buffer);
}

describe.each(CASES)("$label round to nearest", (chosen) => {
  it.each(DTYPES)("gives the reference's bits for %s weights", async (dtype) => {
    const task = taskOf(chosen, dtype, 38, 192);
    const values = hardWeights(task.rows, task.columns, dtype);
    const result = await run(task, values);
    const weight = { values, dtype, rows: task.rows, columns: task.columns };
    const grid = cellGrid(task.weights, task.rows, task.columns);
    const { scales, zeroPoints } = referenceQparams(weight, task.weights, grid);
    expect(result.get("m.weight_scale")).toEqual(narrowFromFloat32(dtype, scales));
    expect(result.get("m.weight_packed") ?? result.get("m.weight")).toEqual(expectedCodes(task, values));
    expect(result.get("m.weight_zero_point")).toEqual(expectedZeroPoints(task, grid, zeroPoints));
    expect([...(result.get("nonfinite") ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe("round to nearest", () => {
  it("counts NaN and Inf and finds the first", async () => {
    const task = taskOf(
      { label: "", weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 32 }) },
      "BF16",
      4,
      64,
    );
    const values = randomNormal(256, seededRandom(1));
    values[130] = Number.NaN;
    values[200] = Number.POSITIVE_INFINITY;
    const result = await run(task, values);
    const [count, first] = new Uint32Array(result.get("nonfinite")?.slice().buffer ?? []);
    expect(count).toBe(2);
    expect(0xffffffff - (first ?? 0)).toBe(130);
  });

  it("keeps every dequantized weight within half a step", async () => {
    const weights = weightArgs({ num_bits: 8, strategy: "group", group_size: 32 });
    const task = taskOf({ label: "", weights }, "F32", 16, 64);
    const values = randomNormal(16 * 64, seededRandom(2));
    const result = await run(task, values);
    const scales = new Float32Array(result.get("m.weight_scale")?.slice().buffer ?? []);
    const codes = result.get("m.weight_packed") ?? new Uint8Array();
    const errors = values.map((value, index) => {
      const scale = scales[Math.floor(index / 32)] ?? 0;
      return Math.abs(value - ((codes[index] ?? 0) - 128) * scale) / scale;
    });
    expect(Math.max(...errors)).toBeLessThanOrEqual(0.5 + 1e-5);
  });
});
