import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cellGrid, compressionFormat } from "../../formats/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, roundHalfToEven, widenToFloat32 } from "../../formats/dtype.ts";
import { packStream } from "../../formats/packing.ts";
import { activationArgs, type QuantizationArgs, weightArgs } from "../../formats/quantization-args.ts";
import { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import { allocateCholeskyScratch } from "../../gpu/triangular/cholesky.ts";
import { openTestGpu, type TestGpu } from "../../testing/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { uploadTriangle } from "../../testing/triangle.ts";
import { referenceQparams } from "../rtn/reference.ts";
import {
  type FactoredHessian,
  factorHessian,
  type FactorScratch,
  readHessianDiagonal,
} from "./factor-hessian.ts";
import { columnTables, gptqBufferBytes, type GptqTask, quantizeTileGptq } from "./quantize-tile.ts";
import { allocateGptqWorkspace } from "./quantize-module.ts";
import { hessianWeightedError, referenceGptq } from "./reference.ts";

let test: TestGpu;
let uploads: UploadRing;
let readbacks: ReadbackRing;
beforeAll(async () => {
  test = await openTestGpu();
  uploads = await UploadRing.create(test.gpu, { pieceBytes: 2 ** 18, pieces: 1 });
  readbacks = await ReadbackRing.create(test.gpu, { pieceBytes: 2 ** 18, pieces: 1 });
});
afterAll(() => {
  uploads[Symbol.dispose]();
  readbacks[Symbol.dispose]();
  test[Symbol.dispose]();
});

/** 2 XᵀX of correlated inputs with a few large and, if asked for, dead columns. */
function hessianOf(n: number, tokens: number, dead: readonly number[] = []): Float64Array {
  const random = seededRandom(n + tokens);
  const base = randomNormal(tokens * n, random);
  const x = base.map((value, index) => {
    const column = index % n;
    if (dead.includes(column)) return 0;
    return (value + (base[index - 1] ?? 0) * 0.7) * (column % 17 === 3 ? 8 : 1);
  });
  const h = new Float64Array(n * n);
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < n; i++) {
      const left = 2 * (x[token * n + i] ?? 0);
      for (let j = 0; j < n; j++) h[i * n + j] = (h[i * n + j] ?? 0) + left * (x[token * n + j] ?? 0);
    }
  }
  return h;
}

async function scratchOf(n: number): Promise<FactorScratch & Disposable> {
  const cholesky = await allocateCholeskyScratch(test.gpu, n);
  const vector = await test.empty("vector", n * 4);
  return {
    cholesky,
    vector,
    uploads,
    readbacks,
    [Symbol.dispose]() {
      cholesky[Symbol.dispose]();
      vector[Symbol.dispose]();
    },
  };
}

interface GpuResult {
  readonly factored: FactoredHessian;
  readonly codes: Int32Array;
  readonly packed: Uint8Array;
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
  readonly dequantized: Float32Array;
  readonly loss: number;
  readonly rtnLoss: number;
}

async function runGptq(
  task: GptqTask,
  weights: Float32Array,
  h: Float64Array,
  frac = 0.01,
): Promise<GpuResult> {
  const { rows, columns, dtype } = task;
  using hessian = await uploadTriangle(test, h, columns, 1_000_000);
  using scratch = await scratchOf(columns);
  using workspace = await allocateGptqWorkspace(test.gpu, [{ task, tileRows: rows }], 1);
  const buffers = { ...workspace.work, ...(await workspace.results.acquire()) };
  const byActivation = task.weights.actorder !== null;
  const backup = columns > 100 ? "gpu" : "host";
  const diagonal = await readHessianDiagonal(test.gpu, hessian, scratch);
  const options = { diagonal, byActivation, dampeningFrac: frac, name: "test", backup } as const;
  const factored = await factorHessian(test.gpu, hessian, options, scratch);
  const tables = columnTables(factored, task.weights);
  await uploads.write(narrowFromFloat32(dtype, weights), buffers.source);
  await uploads.write(new Uint8Array(tables.order.buffer), buffers.order);
  await uploads.write(new Uint8Array(tables.groupOf.buffer), buffers.groupOf);
  await quantizeTileGptq(test.gpu, task, factored.factor, rows, buffers);
  const losses = await test.readFloats(buffers.losses, rows);
  const rtnLosses = await test.readFloats(buffers.rtnLosses, rows);
  const cells = gptqBufferBytes(task, rows).scales / 4;
  return {
    factored,
    codes: await test.readInts(buffers.codes, rows * columns),
    packed: await test.readBytes(buffers.packed),
    scales: await test.readFloats(buffers.scales, cells),
    zeroPoints: await test.readInts(buffers.zeroPoints, cells),
    dequantized: widenToFloat32(dtype, await test.readBytes(buffers.dequantized)),
    loss: losses.reduce((sum, value) => sum + value / 2, 0),
    rtnLoss: rtnLosses.reduce((sum, value) => sum + value / 2, 0),
  };
}

const int8Token = activationArgs({ strategy: "token", dynamic: true });

interface Case {
  readonly label: string;
  readonly weights: QuantizationArgs;
  readonly dtype?: FloatDtype;
  readonly activations?: QuantizationArgs;
  readonly n: number;
}

const group32 = { strategy: "group", group_size: 32 } as const;
const CASES: readonly Case[] = [
  // More columns than a span has, in two panels.
  { label: "W4A16 static", n: 640, weights: weightArgs({ num_bits: 4, ...group32, actorder: "static" }) },
  { label: "W4A16 group", n: 192, weights: weightArgs({ num_bits: 4, ...group32, actorder: "group" }) },
  { label: "W4A16 in order", n: 160, weights: weightArgs({ num_bits: 4, ...group32 }) },
  {
    label: "W4A16_ASYM",
    n: 96,
    weights: weightArgs({ num_bits: 4, ...group32, symmetric: false, actorder: "static" }),
  },
  {
    label: "W3A16 float16",
    n: 288,
    dtype: "F16",
    weights: weightArgs({ num_bits: 3, ...group32, actorder: "static" }),
  },
  {
    label: "W8A16 float32",
    n: 96,
    dtype: "F32",
    weights: weightArgs({ num_bits: 8, ...group32, actorder: "static" }),
  },
  {
    label: "W8A8",
    n: 150,
    activations: int8Token,
    weights: weightArgs({ num_bits: 8, strategy: "channel", actorder: "static" }),
  },
];

function damped(h: Float64Array, n: number, frac: number): Float64Array {
  const mean = h.reduce((sum, value, index) => sum + (index % (n + 1) === 0 ? value || 1 : 0), 0) / n;
  return h.map((value, index) => (index % (n + 1) === 0 ? (value || 1) + frac * mean : value));
}

describe.each(CASES)("GPTQ $label", (chosen) => {
  it("costs what the float64 reference costs, and less than rounding to nearest", async () => {
    const rows = 21;
    const { n } = chosen;
    const dtype = chosen.dtype ?? "BF16";
    const format = compressionFormat({
      weights: chosen.weights,
      input_activations: chosen.activations ?? null,
    });
    const task: GptqTask = { module: "m", dtype, rows, columns: n, weights: chosen.weights, format };
    const weights = widenToFloat32(
      dtype,
      narrowFromFloat32(dtype, randomNormal(rows * n, seededRandom(n), 0.05)),
    );
    const h = hessianOf(n, n + 96);
    const result = await runGptq(task, weights, h);
    const tables = columnTables(result.factored, task.weights);
    const perRow = result.scales.length / rows;
    const reference = referenceGptq({
      weights: Float64Array.from(weights),
      dtype,
      rows,
      n,
      hessian: damped(h, n, 0.01),
      order: result.factored.order.toReversed(),
      args: task.weights,
      qparams: (row, column) => {
        const cell = row * perRow + (tables.groupOf[column] ?? 0);
        return { scale: result.scales[cell] ?? 1, zeroPoint: result.zeroPoints[cell] ?? 0 };
      },
    });
    const delta = Float64Array.from(weights, (weight, index) => weight - (result.dequantized[index] ?? 0));
    const error = hessianWeightedError(delta, damped(h, n, 0.01), rows, n);
    const agreement = result.codes.filter((code, i) => code === reference.codes[i]).length / (rows * n);
    // Float32 sums in another order move a target across a rounding boundary now and then, 8-bit ones more often.
    expect(agreement).toBeGreaterThan(task.weights.num_bits === 8 ? 0.93 : 0.97);
    expect(error / reference.loss).toBeLessThan(1.01);
    expect(result.loss / error).toBeCloseTo(1, 3);
    expect(result.loss).toBeLessThan(result.rtnLoss);
  });
});

describe("GPTQ", () => {
  const weights = weightArgs({ num_bits: 4, ...group32, actorder: "static" });
  const task: GptqTask = {
    module: "m",
    dtype: "BF16",
    rows: 16,
    columns: 96,
    weights,
    format: "pack-quantized",
  };
  const values = widenToFloat32("BF16", narrowFromFloat32("BF16", randomNormal(16 * 96, seededRandom(3))));

  it("takes its scales from the original weights and packs the codes that it chose", async () => {
    const result = await runGptq(task, values, hessianOf(96, 200));
    const grid = cellGrid(weights, 16, 96);
    const { scales } = referenceQparams({ values, dtype: "BF16", rows: 16, columns: 96 }, weights, grid);
    expect(result.scales).toEqual(scales);
    const rows = Array.from({ length: 16 }, (_, row) => [
      ...packStream(result.codes.subarray(row * 96, (row + 1) * 96), 4, 8),
    ]);
    expect(new Uint32Array(result.packed.slice().buffer)).toEqual(Uint32Array.from(rows.flat()));
  });

  it("puts the error of rounding to nearest at the Hessian-weighted error of its codes", async () => {
    const h = hessianOf(96, 200);
    const result = await runGptq(task, values, h);
    const rounded = Float64Array.from(values, (value, index) => {
      const scale = result.scales[Math.floor(index / 32)] ?? 1;
      const code = roundHalfToEven(Math.min(Math.max(value / scale, -8), 7));
      return (
        value - (widenToFloat32("BF16", narrowFromFloat32("BF16", Float32Array.of(code * scale)))[0] ?? 0)
      );
    });
    const expected = hessianWeightedError(rounded, damped(h, 96, 0.01), 16, 96);
    expect(result.rtnLoss / expected).toBeCloseTo(1, 3);
  });

  it("gives dead columns the code of zero and leaves them out of the error", async () => {
    const result = await runGptq(task, values, hessianOf(96, 200, [5, 40]));
    for (let row = 0; row < 16; row++) {
      expect(result.codes[row * 96 + 5]).toBe(0);
      expect(result.codes[row * 96 + 40]).toBe(0);
    }
    expect([...result.factored.dead].filter(Boolean)).toHaveLength(2);
  });

  it("retries a singular Hessian with more damping and says so", async () => {
    const h = hessianOf(96, 4);
    const result = await runGptq(task, values, h, 1e-9);
    expect(result.factored.attempts).toBeGreaterThan(1);
    expect(result.factored.dampeningFrac).toBeGreaterThan(1e-9);
    expect(result.loss).toBeLessThan(result.rtnLoss);
  });

  it("refuses a Hessian with NaN and names it", async () => {
    const h = hessianOf(96, 100);
    h[0] = Number.NaN;
    await expect(runGptq(task, values, h)).rejects.toThrow(/Hessian of test has NaN/);
  });
});
