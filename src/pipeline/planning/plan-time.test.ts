import { describe, expect, it } from "vitest";
import type { CalibrationSet } from "../../calibrate/select-sequences.ts";
import { rewritingModifiers } from "../../formats/recipe/recipe.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { awqRewriter } from "../../quantize/awq/awq-rewriter.ts";
import { loadCheckpoint } from "../../testing/fixtures/load-checkpoint.ts";
import { demandOf } from "../calibration/layers/calibrated-layer.ts";
import { planCalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { calibratedStep, streamedStep } from "./planned-step.ts";
import { planTime, sumOfPhases, totalFlops, totalSeconds } from "./plan-time.ts";
import type { CalibrationOptions } from "../../api/job-options.ts";
import { CALIBRATION_OPTIONS } from "../../testing/calibration-options.ts";

const MIB = 1024 ** 2;
const GROUPS =
  "ignore: [lm_head], config_groups: {group_0: {targets: [Linear], weights: {num_bits: 4, type: int, symmetric: true, strategy: group, group_size: 32}}}";
const RECIPE = `quant_stage: {quant_modifiers: {GPTQModifier: {${GROUPS}}}}`;
const AWQ = `quant_stage: {quant_modifiers: {AWQModifier: {n_grid: 6}, QuantizationModifier: {${GROUPS}}}}`;
const OPTIONS: CalibrationOptions = { ...CALIBRATION_OPTIONS, num_calibration_samples: 8 };
const RATES = {
  downloadBytes: 0,
  network: { bytesPerSecond: 0 },
  gpu: { flopsPerSecond: 1e9, measured: false },
} as const;

/** The fixture's plan with samples of these lengths. */
function plan(
  name: string,
  lengths: readonly number[],
  options: Partial<CalibrationOptions> = {},
  text = RECIPE,
) {
  const { config, tensors } = loadCheckpoint(name);
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(config))), tensors };
  const recipe = parseRecipe(text);
  const { steps } = planSteps(tensors, recipe);
  const sequences = lengths.map((length) => new Uint32Array(length));
  const set: CalibrationSet = {
    sequences,
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    notes: [],
  };
  const limits = { budgetBytes: 64 * MIB, maxBufferBytes: 128 * MIB };
  const all = { ...OPTIONS, ...options };
  const rewriting = rewritingModifiers(recipe);
  const calibration = planCalibrationJob(model, { steps, cache: null, rewriting }, set, all, limits);
  const planned = steps.map((step) => ({ ...calibratedStep(streamedStep(step), calibration), bytes: 100 }));
  return { steps: planned, sourceBytes: 100 * steps.length };
}

function time(...args: Parameters<typeof plan>) {
  const planned = plan(...args);
  return (rates: Partial<typeof RATES> | object = {}) => planTime(planned, { ...RATES, ...rates });
}

const FLAT = { calibrating: 0, quantizing: 0, propagating: 0 };
const of = (count: number, length: number) => Array.from({ length: count }, () => length);

describe("the estimate of a job's time", () => {
  it("grows with samples, with their length, and in proportion to a slower GPU", () => {
    const seconds = [of(1, 48), of(2, 48), of(8, 48), of(8, 64)].map((each) =>
      totalSeconds(time("llama", each)()),
    );
    expect(seconds).toEqual(seconds.toSorted((a, b) => a - b));
    expect(new Set(seconds).size).toBe(4);
    const planned = time("llama", of(8, 64));
    const fast = totalSeconds(planned());
    const slow = totalSeconds(planned({ gpu: { flopsPerSecond: 1e8, measured: true } }));
    expect(slow / fast).toBeCloseTo(10, 2);
  });

  it("counts what depends on samples by their tokens, and factorisations once", () => {
    const [few, many] = [2, 20].map((count) => time("llama", of(count, 48))().layers.values().next().value);
    expect((many?.calibrating ?? 0) / (few?.calibrating ?? 1)).toBeCloseTo(10, 6);
    expect(many?.quantizing).toBeCloseTo(few?.quantizing ?? 0, 12);
  });

  it("counts the products, attention, Hessians and solves of a layer", () => {
    const tokens = 96;
    const [hidden, inner, heads, kvHeads, headDim] = [64, 128, 4, 2, 16];
    const attention = 4 * headDim * heads * 2 * ((48 * 49) / 2);
    const keysValues = kvHeads * headDim * 2;
    const before = hidden * (2 * hidden + keysValues + 2 * inner);
    const hessians = tokens * (3 * hidden * (hidden + 1) + inner * (inner + 1));
    const solves = 3 * (hidden ** 3 / 3) + inner ** 3 / 3;
    const updates = hidden ** 2 * (2 * hidden + keysValues + 2 * inner) + inner ** 2 * hidden;
    const propagated = attention + 2 * tokens * (before + inner * hidden);
    const last = attention + 2 * tokens * before + hessians + solves + updates;
    const counted = plan("llama", of(2, 48)).steps.flatMap(({ calibrated }) =>
      calibrated ? [sumOfPhases(calibrated.work)] : [],
    );
    expect(counted.at(-1)).toBeCloseTo(last, 3);
    expect(counted[0]).toBeCloseTo(last + propagated, 3);
  });

  it("counts AWQ's Hessians, its search, and attention for each candidate on an eighth of the tokens", () => {
    const [hidden, inner, heads, kvHeads, headDim, tried] = [64, 128, 4, 2, 16, 6];
    const attention = 4 * headDim * heads * ((48 * 49) / 2);
    const mixing = hidden * 2 * (hidden + kvHeads * headDim);
    const steps = plan("llama", of(48, 48), {}, AWQ).steps.flatMap(({ calibrated }) => calibrated ?? []);
    const tokens = 48 * 48;
    const before = mixing + hidden * 2 * inner;
    const collected = 48 * attention + 2 * tokens * before;
    const hessians = tokens * (hidden * (hidden + 1) + inner * (inner + 1));
    // 288 tokens are six sequences.
    const glance = (tried + 1) * (6 * attention + 2 * 288 * mixing);
    const last = steps.at(-1);
    const search = last?.layer.rewritings.map((each) => awqRewriter.work(demandOf(last.layer, each)))[0];
    expect(last?.work.calibrating).toBeCloseTo(collected + hessians + glance + (search ?? 0), 3);
    expect(search).toBeGreaterThan((tried + 1) * (2 * inner * hidden ** 2 + hidden * inner ** 2));
  });

  it("counts experts that see all tokens higher than those that see their own", () => {
    const all = totalFlops(plan("mixtral", of(8, 64)));
    const routed = totalFlops(plan("mixtral", of(8, 64), { moe_calibrate_all_experts: false }));
    expect(routed).toBeLessThan(all);
  });

  it("is the network's where that is slower than the GPU", () => {
    const planned = time("llama", of(1, 8));
    const slow = planned({ downloadBytes: 1e9, network: { bytesPerSecond: 1e6 } });
    expect(totalSeconds(slow)).toBeCloseTo(1000, 6);
    expect(sumOfPhases(slow.layers.values().next().value ?? FLAT)).toBeGreaterThan(100);
  });
});
