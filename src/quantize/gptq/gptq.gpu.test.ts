import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { invariant } from "../../errors.ts";
import { cellGrid, compressionFormat } from "../../formats/schemes/compression-format.ts";
import {
  DTYPE_BITS,
  type FloatDtype,
  narrowFromFloat32,
  roundHalfToEven,
  roundTo,
  widenToFloat32,
} from "../../formats/numbers/dtype.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import { packStream } from "../../formats/numbers/packing.ts";
import {
  activationArgs,
  type QuantizationArgs,
  weightArgs,
} from "../../formats/schemes/quantization-args.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { type GptqBench, type GptqResult, openGptqBench, runGptq } from "../../testing/layers/run-gptq.ts";
import { importanceOf } from "../observe/importance.ts";
import { referenceMseRanges } from "../observe/mse-reference.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import { codeValue, qparamsOfRanges, referenceQparams } from "../rtn/reference.ts";
import type { RtnTask } from "../rtn/tile-buffers.ts";
import { openDequantizer } from "./dequantize-stored.ts";
import { moduleContexts } from "./observe-module.ts";
import { hessianWeightedError, referenceGptq } from "./reference.ts";

let bench: GptqBench;
beforeAll(async () => {
  bench = await openGptqBench();
});
afterAll(() => bench[Symbol.dispose]());

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

const int8Token = activationArgs({ strategy: "token", dynamic: true });

interface Case {
  readonly label: string;
  readonly weights: QuantizationArgs;
  readonly dtype?: FloatDtype;
  readonly activations?: QuantizationArgs;
  readonly n: number;
  readonly rows?: number;
  readonly tileRows?: number;
}

const group32 = { strategy: "group", group_size: 32 } as const;
const fp8 = { num_bits: 8, type: "float", actorder: "static" } as const;
const nvfp4 = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  scale_dtype: "torch.float8_e4m3fn",
  actorder: "static",
} as const;
const mx = { type: "float", ...group32, scale_dtype: "torch.uint8", actorder: "static" } as const;
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
  {
    label: "one scale and zero point, two tiles",
    n: 96,
    rows: 40,
    tileRows: 32,
    weights: weightArgs({ num_bits: 5, strategy: "tensor", symmetric: false, actorder: "static" }),
  },
  {
    label: "FP8, two tiles",
    n: 96,
    rows: 40,
    tileRows: 32,
    weights: weightArgs({ ...fp8, strategy: "tensor", observer: "memoryless_mse" }),
  },
  { label: "FP8_DYNAMIC", n: 96, weights: weightArgs({ ...fp8, strategy: "channel" }) },
  {
    label: "FP8_BLOCK, two tiles",
    n: 160,
    rows: 150,
    tileRows: 128,
    weights: weightArgs({ ...fp8, strategy: "block", block_structure: [128, 128] }),
  },
  { label: "NVFP4A16", n: 160, rows: 40, tileRows: 32, weights: weightArgs(nvfp4) },
  {
    label: "NVFP4A16 by imatrix_mse",
    n: 96,
    weights: weightArgs({ ...nvfp4, observer: "imatrix_mse" }),
  },
  { label: "MXFP4A16", n: 96, weights: weightArgs({ num_bits: 4, ...mx }) },
  { label: "MXFP8A16", n: 96, weights: weightArgs({ num_bits: 8, ...mx }) },
  {
    label: "W4A16 by memoryless_mse",
    n: 96,
    weights: weightArgs({ num_bits: 4, ...group32, actorder: "static", observer: "memoryless_mse" }),
  },
  {
    label: "W4A16 group by imatrix_mse",
    n: 96,
    weights: weightArgs({ num_bits: 4, ...group32, actorder: "group", observer: "imatrix_mse" }),
  },
];

function damped(h: Float64Array, n: number, frac: number): Float64Array {
  const mean = h.reduce((sum, value, index) => sum + (index % (n + 1) === 0 ? value || 1 : 0), 0) / n;
  return h.map((value, index) => (index % (n + 1) === 0 ? (value || 1) + frac * mean : value));
}

describe.each(CASES)("GPTQ $label", (chosen) => {
  it("costs what the float64 reference costs, and less than rounding to nearest", async () => {
    const { n, rows = 21, dtype = "BF16", weights: args } = chosen;
    const format = compressionFormat({ weights: args, input_activations: chosen.activations ?? null });
    const task: RtnTask = { module: "m", dtype, rows, columns: n, weights: args, format };
    const weights = widenToFloat32(
      dtype,
      narrowFromFloat32(dtype, randomNormal(rows * n, seededRandom(n), 0.05)),
    );
    const h = hessianOf(n, n + 96);
    const result = await runGptq(bench, task, weights, h, { tileRows: chosen.tileRows ?? rows });
    const reference = referenceGptq({
      weights: Float64Array.from(weights),
      dtype,
      rows,
      n,
      hessian: damped(h, n, 0.01),
      order: result.factored.order.toReversed(),
      args,
      qparams: (row, column) => {
        const at = row * n + column;
        return { scale: result.scales[at] ?? 1, zeroPoint: result.zeroPoints[at] ?? 0 };
      },
    });
    const delta = Float64Array.from(weights, (weight, index) => weight - (result.dequantized[index] ?? 0));
    const error = hessianWeightedError(delta, damped(h, n, 0.01), rows, n);
    const expected = Float32Array.from(reference.codes, (code) => codeValue(code, 0, args));
    const agreement = result.numbers.filter((number, i) => number === expected[i]).length / (rows * n);
    // Float32 sums in another order move a target across a rounding boundary now and then, 8-bit ones more often.
    expect(agreement).toBeGreaterThan(args.num_bits === 8 ? 0.93 : 0.97);
    expect(error / reference.loss).toBeLessThan(1.01);
    expect(result.outcome.loss / error).toBeCloseTo(1, 3);
    expect(result.outcome.loss).toBeLessThan(result.outcome.rtnLoss);
    expect(result.dequantized).toEqual(meaningOf(result, dtype));
    expect(await storedMeaning(task, result)).toEqual(result.dequantized);
  });
});

/** What another job makes of the tensors, a few rows at a time. */
async function storedMeaning(task: RtnTask, { tensors }: GptqResult): Promise<Float32Array> {
  const { columns, dtype } = task;
  const { test, uploads, readbacks } = bench;
  const tensor = (name: string) => tensors.get(`m.${name}`) ?? null;
  const values = new Float32Array(task.rows * columns);
  using dequantizer = await openDequantizer({ gpu: test.gpu, uploads }, [task], columns);
  await dequantizer.dequantize({ task, tensor }, async (firstRow, rows, from) => {
    const bytes = await readbacks.readBytes(from, 0, (rows * columns * DTYPE_BITS[dtype]) / 8);
    values.set(widenToFloat32(dtype, bytes), firstRow * columns);
  });
  return values;
}

/** What a loader makes of the codes: products in float32, rounded to the dtype. */
function meaningOf({ numbers, zeroPoints, scales }: GptqResult, dtype: FloatDtype): Float32Array {
  return numbers.map((number, at) =>
    roundTo(dtype, Math.fround((number - (zeroPoints[at] ?? 0)) * (scales[at] ?? 0))),
  );
}

describe("GPTQ", () => {
  const weights = weightArgs({ num_bits: 4, ...group32, actorder: "static" });
  const task: RtnTask = {
    module: "m",
    dtype: "BF16",
    rows: 16,
    columns: 96,
    weights,
    format: "pack-quantized",
  };
  const values = widenToFloat32("BF16", narrowFromFloat32("BF16", randomNormal(16 * 96, seededRandom(3))));

  it("takes its scales from the original weights and packs the codes that it chose", async () => {
    const result = await runGptq(bench, task, values, hessianOf(96, 200));
    const grid = cellGrid(weights, 16, 96);
    const { scales } = referenceQparams({ values, dtype: "BF16", rows: 16, columns: 96 }, weights, grid);
    expect(result.tensors.get("m.weight_scale")).toEqual(narrowFromFloat32("BF16", scales));
    const rows = Array.from({ length: 16 }, (_, row) => [
      ...packStream(Int32Array.from(result.numbers.subarray(row * 96, (row + 1) * 96)), 4, 8),
    ]);
    const packed = result.tensors.get("m.weight_packed");
    expect(new Uint32Array(packed?.slice().buffer ?? [])).toEqual(Uint32Array.from(rows.flat()));
  });

  it("takes the ranges that imatrix_mse chooses by the Hessian's diagonal", async () => {
    const observed = { ...task, weights: { ...weights, observer: "imatrix_mse" } } as const;
    const h = hessianOf(96, 200, [5]);
    const result = await runGptq(bench, observed, values, h);
    const importance = importanceOf(Float32Array.from({ length: 96 }, (_, column) => h[column * 97] ?? 0));
    const settings = mseSettings(observed.weights);
    invariant(settings, "imatrix_mse searches");
    const weight = { values, dtype: "BF16", rows: 16, columns: 96 } as const;
    const grid = cellGrid(weights, 16, 96);
    const ranges = referenceMseRanges(weight, observed.weights, grid, settings, importance);
    const { scales } = qparamsOfRanges(ranges, observed.weights, "BF16");
    expect(result.tensors.get("m.weight_scale")).toEqual(narrowFromFloat32("BF16", scales));
    expect(scales).not.toEqual(referenceQparams(weight, weights, grid).scales);
  });

  it("shares NVFP4's global scale over a fused set, whose widest weight fits", async () => {
    const args = weightArgs(nvfp4);
    const plain = { ...task, weights: args, format: "nvfp4-pack-quantized" } as const;
    const alone = await runGptq(bench, plain, values, hessianOf(96, 200));
    const narrow = { range: [-0.5, 0.5], steps: null } as const;
    const wide = { range: [-8, 1], steps: null } as const;
    const set = moduleContexts([
      { task: plain, observed: narrow },
      { task: { ...plain, module: "n" }, observed: wide },
    ]);
    expect(set.get("m")?.statistics.globalScale).toBe(globalScale(8, "BF16"));
    expect(set.get("n")).toEqual(set.get("m"));
    const stored = alone.tensors.get("m.weight_global_scale");
    expect(new Float32Array(stored?.slice().buffer ?? [])[0]).toBe(alone.context.statistics.globalScale);
  });

  it("puts the error of rounding to nearest at the Hessian-weighted error of its codes", async () => {
    const h = hessianOf(96, 200);
    const result = await runGptq(bench, task, values, h);
    const rounded = Float64Array.from(values, (value, index) => {
      const scale = result.scales[index] ?? 1;
      const code = roundHalfToEven(Math.min(Math.max(value / scale, -8), 7));
      return (
        value - (widenToFloat32("BF16", narrowFromFloat32("BF16", Float32Array.of(code * scale)))[0] ?? 0)
      );
    });
    const expected = hessianWeightedError(rounded, damped(h, 96, 0.01), 16, 96);
    expect(result.outcome.rtnLoss / expected).toBeCloseTo(1, 3);
  });

  it("gives dead columns the code of zero and leaves them out of the error", async () => {
    const result = await runGptq(bench, task, values, hessianOf(96, 200, [5, 40]));
    for (let row = 0; row < 16; row++) {
      expect(result.numbers[row * 96 + 5]).toBe(0);
      expect(result.numbers[row * 96 + 40]).toBe(0);
    }
    expect([...result.factored.dead].filter(Boolean)).toHaveLength(2);
  });

  it("retries a singular Hessian with more damping and says so", async () => {
    const h = hessianOf(96, 4);
    const result = await runGptq(bench, task, values, h, { frac: 1e-9 });
    expect(result.factored.attempts).toBeGreaterThan(1);
    expect(result.factored.dampeningFrac).toBeGreaterThan(1e-9);
    expect(result.outcome.loss).toBeLessThan(result.outcome.rtnLoss);
    // As if what was enough had been asked for at once.
    const { dampeningFrac } = result.factored;
    const straight = await runGptq(bench, task, values, h, { frac: dampeningFrac });
    expect(straight.factored.attempts).toBe(1);
    expect(result.outcome.loss / straight.outcome.loss).toBeCloseTo(1, 3);
    const differing = result.numbers.filter((code, place) => code !== straight.numbers[place]);
    expect(differing.length).toBeLessThan(0.01 * result.numbers.length);
  });

  it("refuses a Hessian with NaN and names it", async () => {
    const h = hessianOf(96, 100);
    h[0] = Number.NaN;
    await expect(runGptq(bench, task, values, h)).rejects.toThrow(/Hessian of test has NaN/);
  });
});
