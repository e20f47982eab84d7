import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, roundTo, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { GPTQ_SETTINGS, REFINE_SETTINGS } from "../../formats/modifiers/gptq.ts";
import { type QuantizationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import { correlatedHessian } from "../../testing/layers/hessian.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { type GptqBench, openGptqBench, runGptq } from "../../testing/layers/run-gptq.ts";
import type { GptqTask } from "./gptq-task.ts";
import { hessianWeightedError } from "./reference.ts";

let bench: GptqBench;
beforeAll(async () => {
  bench = await openGptqBench();
});
afterAll(() => bench[Symbol.dispose]());

const ROWS = 40;
const group32 = { strategy: "group", group_size: 32 } as const;
const REFINING = {
  name: "GPTQModifier",
  groups: [],
  ignore: [],
  kv_cache_scheme: null,
  settings: { ...GPTQ_SETTINGS, refine: REFINE_SETTINGS },
} as const;
const ROUNDING = {
  name: "QuantizationModifier",
  groups: [],
  ignore: [],
  kv_cache_scheme: null,
  settings: { refine: REFINE_SETTINGS },
} as const;
const CASES: readonly { label: string; n: number; dtype: FloatDtype; weights: QuantizationArgs }[] = [
  {
    label: "W3A16",
    n: 160,
    dtype: "BF16",
    weights: weightArgs({ num_bits: 3, ...group32, actorder: "static" }),
  },
  {
    label: "W4A16_ASYM in groups of the order of quantization",
    n: 96,
    dtype: "F16",
    weights: weightArgs({ num_bits: 4, ...group32, symmetric: false, actorder: "group" }),
  },
  {
    label: "NVFP4A16",
    n: 96,
    dtype: "BF16",
    weights: weightArgs({
      num_bits: 4,
      type: "float",
      strategy: "tensor_group",
      group_size: 16,
      scale_dtype: "torch.float8_e4m3fn",
      actorder: "static",
    }),
  },
];

describe("GPTQ of 8 bits a channel, where little is left to gain", () => {
  it("loses no more when it is refined", async () => {
    const n = 96;
    const weights = weightArgs({ num_bits: 8, strategy: "channel", actorder: "static" });
    const values = randomNormal(ROWS * n, seededRandom(n), 0.05);
    const format = compressionFormat({ weights, input_activations: null });
    const task: GptqTask = { module: "m", dtype: "F32", rows: ROWS, columns: n, weights, format };
    const hessian = correlatedHessian(n, 2 * n, 0);
    const plain = await runGptq(bench, task, values, hessian);
    const refined = await runGptq(bench, { ...task, modifier: REFINING }, values, hessian);
    expect(refined.outcome.loss).toBeLessThan(plain.outcome.loss);
  });
});

describe.each(CASES)("GPTQ of $label", ({ n, dtype, weights }) => {
  it("loses less with weighted ranges, still less refined, and writes what it means", async () => {
    const bytes = narrowFromFloat32(dtype, randomNormal(ROWS * n, seededRandom(n), 0.05));
    const values = widenToFloat32(dtype, bytes);
    const hessian = correlatedHessian(n, 2 * n, 0);
    const format = compressionFormat({ weights, input_activations: null });
    const task: GptqTask = { module: "m", dtype, rows: ROWS, columns: n, weights, format };
    const run = async (of: GptqTask) => await runGptq(bench, of, values, hessian, { tileRows: 32 });
    const plain = await run(task);
    const weighted: GptqTask = { ...task, weights: { ...weights, observer: "hessian_mse" } };
    const ranged = await run(weighted);
    const refined = await run({ ...weighted, modifier: REFINING });
    expect(ranged.outcome.loss).toBeLessThan(plain.outcome.loss);
    expect(refined.outcome.loss).toBeLessThan(0.97 * ranged.outcome.loss);
    const meanings = refined.numbers.map((number, index) =>
      roundTo(dtype, (number - (refined.zeroPoints[index] ?? 0)) * (refined.scales[index] ?? 0)),
    );
    expect(refined.dequantized).toEqual(meanings);
    const delta = Float64Array.from(values, (value, index) => value - (meanings[index] ?? 0));
    const error = hessianWeightedError(delta, correlatedHessian(n, 2 * n, 0.01), ROWS, n);
    expect(refined.outcome.loss / error).toBeCloseTo(1, 3);
  });

  it("loses less than rounding to nearest does where nothing else chose its codes", async () => {
    const bytes = narrowFromFloat32(dtype, randomNormal(ROWS * n, seededRandom(n + 1), 0.05));
    const values = widenToFloat32(dtype, bytes);
    const format = compressionFormat({ weights, input_activations: null });
    const rounded = { ...weights, actorder: null };
    const task: GptqTask = { module: "m", dtype, rows: ROWS, columns: n, weights: rounded, format };
    const hessian = correlatedHessian(n, 2 * n, 0);
    const plain = await runGptq(bench, task, values, hessian, { tileRows: 32 });
    const refined = await runGptq(bench, { ...task, modifier: ROUNDING }, values, hessian, { tileRows: 32 });
    expect(refined.outcome.rtnLoss).toBe(plain.outcome.rtnLoss);
    expect(refined.outcome.loss).toBeLessThan(0.9 * refined.outcome.rtnLoss);
    const delta = Float64Array.from(values, (value, index) => value - (refined.dequantized[index] ?? 0));
    const error = hessianWeightedError(delta, correlatedHessian(n, 2 * n, 0.01), ROWS, n);
    expect(refined.outcome.loss / error).toBeCloseTo(1, 3);
  });
});
