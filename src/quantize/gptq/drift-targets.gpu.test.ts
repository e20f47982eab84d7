import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { GPTQ_SETTINGS, REFINE_SETTINGS } from "../../formats/modifiers/gptq.ts";
import { type QuantizationArgs, weightArgs } from "../../formats/schemes/quantization-args.ts";
import { correlatedHessian } from "../../testing/layers/hessian.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { type GptqBench, type GptqResult, openGptqBench, runGptq } from "../../testing/layers/run-gptq.ts";
import { codeValue } from "../rtn/reference.ts";
import type { GptqTask } from "./gptq-task.ts";
import { hessianWeightedError, referenceGptq, referenceTargets } from "./reference.ts";

let bench: GptqBench;
beforeAll(async () => {
  bench = await openGptqBench();
});
afterAll(() => bench[Symbol.dispose]());

const ROWS = 40;
const SHARE = 0.5;
const modifierOf = (more: { drift?: number; refine?: typeof REFINE_SETTINGS }) =>
  ({
    name: "GPTQModifier",
    groups: [],
    ignore: [],
    kv_cache_scheme: null,
    settings: { ...GPTQ_SETTINGS, ...more },
  }) as const;

const CASES: readonly { label: string; n: number; dtype: FloatDtype; weights: QuantizationArgs }[] = [
  {
    label: "W4A16 in two panels",
    n: 160,
    dtype: "BF16",
    weights: weightArgs({ num_bits: 4, strategy: "group", group_size: 32, actorder: "static" }),
  },
  {
    label: "W8A8 of columns that fill no quad",
    n: 90,
    dtype: "F32",
    weights: weightArgs({ num_bits: 8, strategy: "channel", actorder: null }),
  },
  {
    label: "W3A16_ASYM in groups of the order of quantization",
    n: 96,
    dtype: "F16",
    weights: weightArgs({
      num_bits: 3,
      strategy: "group",
      group_size: 32,
      symmetric: false,
      actorder: "group",
    }),
  },
];

/** Inputs that are a tenth larger, with noise that no input tells of. */
function driftOf(n: number): Float64Array {
  const hessian = correlatedHessian(n, 2 * n, 0);
  const noise = randomNormal(n * n, seededRandom(n + 5), 2);
  return hessian.map((value, index) => 0.1 * value + (noise[index] ?? 0));
}

/** The damped loss against targets, as it should be. */
function lossOf(result: GptqResult, targets: Float64Array, n: number): number {
  const delta = targets.map((target, index) => target - (result.dequantized[index] ?? 0));
  return hessianWeightedError(delta, correlatedHessian(n, 2 * n, 0.01), ROWS, n);
}

describe.each(CASES)("drift-aware GPTQ of $label", ({ n, dtype, weights }) => {
  const stored = narrowFromFloat32(dtype, randomNormal(ROWS * n, seededRandom(n), 0.05));
  const values = widenToFloat32(dtype, stored);
  const format = compressionFormat({ weights, input_activations: null });
  const hessian = correlatedHessian(n, 2 * n, 0);
  const drift = driftOf(n);
  const run = async (modifier: ReturnType<typeof modifierOf>, moved?: Float64Array) => {
    const task: GptqTask = { module: "m", dtype, rows: ROWS, columns: n, weights, format, modifier };
    return await runGptq(bench, task, values, hessian, { tileRows: 32, ...(moved && { drift: moved }) });
  };
  const targets = referenceTargets(Float64Array.from(values), drift, correlatedHessian(n, 2 * n, 0.01), {
    rows: ROWS,
    n,
    share: SHARE,
  });

  it("chooses 97 % of the codes of the float64 reference, and costs what they cost to 1 %", async () => {
    const result = await run(modifierOf({ drift: SHARE }), drift);
    const reference = referenceGptq({
      weights: Float64Array.from(values),
      targets,
      dtype,
      rows: ROWS,
      n,
      hessian: correlatedHessian(n, 2 * n, 0.01),
      order: result.factored.order.toReversed(),
      args: weights,
      qparams: (row, column) => {
        const at = row * n + column;
        return { scale: result.scales[at] ?? 1, zeroPoint: result.zeroPoints[at] ?? 0 };
      },
    });
    const expected = Float32Array.from(reference.codes, (code) => codeValue(code, 0, weights));
    const agreement = result.numbers.filter((number, at) => number === expected[at]).length / (ROWS * n);
    // As in gptq.gpu.test.ts: 8-bit codes cross a boundary more often.
    expect(agreement).toBeGreaterThan(weights.num_bits === 8 ? 0.93 : 0.97);
    expect(result.outcome.loss / reference.loss).toBeLessThan(1.01);
    expect(result.outcome.loss / lossOf(result, targets, n)).toBeCloseTo(1, 3);
    expect(result.outcome.loss).toBeLessThan(result.outcome.rtnLoss);
  });

  it("keeps the scales of the weights, and is further from them than plain GPTQ", async () => {
    const plain = await run(modifierOf({}));
    const moved = await run(modifierOf({ drift: SHARE }), drift);
    expect(moved.scales).toEqual(plain.scales);
    const own = Float64Array.from(values);
    expect(lossOf(moved, own, n)).toBeGreaterThan(lossOf(plain, own, n));
    expect(lossOf(moved, targets, n)).toBeLessThan(lossOf(plain, targets, n));
  });

  it("is plain GPTQ where nothing drifted", async () => {
    const plain = await run(modifierOf({}));
    const still = await run(modifierOf({ drift: SHARE }), new Float64Array(n * n));
    expect(still.tensors).toEqual(plain.tensors);
    expect(still.outcome).toEqual(plain.outcome);
  });

  it("is refined towards its targets", async () => {
    const moved = await run(modifierOf({ drift: SHARE }), drift);
    const refined = await run(modifierOf({ drift: SHARE, refine: REFINE_SETTINGS }), drift);
    expect(refined.outcome.loss).toBeLessThan(moved.outcome.loss);
    expect(refined.outcome.loss / lossOf(refined, targets, n)).toBeCloseTo(1, 3);
  });
});
