import { describe, expect, it } from "vitest";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { hostLayer, MIB, only, planFor } from "../../../testing/layers/small-layer.ts";
import { openRun, type Run, RUN_BYTES, STATES, statesIn, turnOf } from "../../../testing/layers/run-layer.ts";
import type { LayerSchedule } from "../../calibration/fit/layer-schedule.ts";
import { onload } from "../layer-at-work.ts";
import { propagate } from "../passes/propagate.ts";
import { rewrite } from "./rewrite.ts";

const EXPERTS = 3;

it("scales a layer of experts by AWQ so that it loses less and computes the same, in one run of the samples or in many with weights that come anew", async () => {
  const budgetBytes = 64 * MIB;
  const layer = {
    experts: EXPERTS,
    budgetBytes,
    dtype: "F32",
    before: "AWQModifier: {n_grid: 5}, ",
  } as const;
  const job = planFor(layer, "lm_head", { moe_calibrate_all_experts: false, propagate_error: false });
  using run = await openRun(job, budgetBytes);
  const planned = only(job.plan.layers);
  expect(planned.staysRewriting).toBe(true);
  const rewritten = async (schedule: LayerSchedule) => {
    using plain = await onload(turnOf(run, job, hostLayer(EXPERTS, "F32"), schedule));
    await propagate(plain);
    const before = run.outputs();
    using work = await onload(turnOf(run, job, hostLayer(EXPERTS, "F32"), schedule));
    await rewrite(work);
    await propagate(work);
    return { reports: work.rewritten, folds: work.folded.folds, before, after: run.outputs() };
  };
  const once = await rewritten(planned);
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  // Norms to q, k, v, to router and experts, and up to down of each expert that saw a token.
  expect(once.reports.length).toBeGreaterThan(2);
  for (const { search } of once.reports) expect(search?.loss).toBeLessThanOrEqual(search?.unscaledLoss ?? 0);
  expect(once.reports.some(({ search }) => (search?.loss ?? 1) < 0.9 * (search?.unscaledLoss ?? 0))).toBe(
    true,
  );
  expect(once.folds.map(({ tensor }) => tensor)).toContain("model.layers.0.mlp.gate.weight");
  // float32 sums in another order
  once.after.forEach((value, at) => expect(Math.abs(value - (once.before[at] ?? 0))).toBeLessThan(1e-4));

  const [passes = []] = planned.rewrites;
  const apart = passes.flatMap((pass) =>
    pass.runsBlocks ? [pass] : pass.captures.map((capture) => ({ ...pass, captures: [capture] })),
  );
  expect(apart.length).toBeGreaterThan(passes.length);
  const many = await rewritten({ ...planned, rewrites: [apart], staysRewriting: false });
  expect(many.reports).toEqual(once.reports);
  expect(many.folds).toEqual(once.folds);
});

it("brings the samples to the next layer while it looks for factors, where nothing else wants to see them", async () => {
  const budgetBytes = 64 * MIB;
  const layer = { experts: 0, budgetBytes, before: "AWQModifier: {n_grid: 3}, " };
  const job = planFor({ ...layer, quantizer: "QuantizationModifier" }, "lm_head");
  expect(only(job.plan.layers).rewrites).toMatchObject([[{ propagates: true }]]);
  using run = await openRun(job, budgetBytes);
  using plain = await onload(turnOf(run, job, hostLayer(0)));
  await propagate(plain);
  const expected = run.outputs();
  using work = await onload(turnOf(run, job, hostLayer(0)));
  await rewrite(work);
  expect(work.folded.folds.length).toBeGreaterThan(0);
  expect(await propagate(work)).toBe(false);
  expect(run.outputs()).toEqual(expected);
  expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
});

/** States of the original model: those of the quantized one are off from them. */
const noise = randomNormal(STATES.length, seededRandom(11), 0.5);
const ORIGINAL = STATES.map((value, index) => value + (noise[index] ?? 0));

describe.each([
  ["by Hessians", 0, "", [true]],
  ["by what blocks give out", 0, "loss: block, ", [false, true]],
  ["of experts", 2, "", [false, false]],
] as const)("what AWQ finds %s", (_how, experts, loss, leaving) => {
  // Of three ratios none makes the loss of these experts smaller.
  const grid = experts > 0 ? 5 : 3;
  const budgetBytes = 64 * MIB;
  const plan = {
    experts,
    budgetBytes,
    dtype: "F32",
    before: `AWQModifier: {${loss}n_grid: ${grid}}, `,
  } as const;

  async function withOriginal(
    run: Run,
    use: (services: Run["services"], left: Float32Array) => Promise<void>,
  ) {
    const left = new Float32Array(STATES.length);
    using hidden = await run.services.gpu.memory.allocate({ label: "original", bytes: STATES.byteLength });
    const original = { states: statesIn(run.services, left, ORIGINAL), hidden };
    await use({ ...run.services, original }, left);
  }

  it("needs no second stream where no error is seen", () => {
    expect(planFor(plan, "lm_head", { propagate_error: false }).plan.hidden.streams).toBe(1);
  });

  it("behind GPTQ's errors is what it finds in the original model, whose samples go on", async () => {
    const job = planFor(plan, "lm_head");
    expect(job.plan.hidden.streams).toBe(2);
    expect(
      only(job.plan.layers)
        .rewrites.flat()
        .map(({ propagates }) => propagates),
    ).toEqual(leaving);
    using run = await openRun(job, budgetBytes);
    const apart = { ...job, layers: job.layers.map((layer) => ({ ...layer, rewritesOriginal: false })) };
    const through = new Float32Array(STATES.length);
    const services = { ...run.services, states: statesIn(run.services, through, ORIGINAL) };
    using alone = await onload(turnOf({ ...run, services }, apart, hostLayer(experts, "F32")));
    await rewrite(alone);
    await propagate(alone);
    using plain = await onload(turnOf(run, job, hostLayer(experts, "F32")));
    await propagate(plain);
    const expected = run.outputs();

    await withOriginal(run, async (both, left) => {
      using work = await onload(turnOf({ ...run, services: both }, job, hostLayer(experts, "F32")));
      await rewrite(work);
      expect(work.rewritten).toEqual(alone.rewritten);
      expect(work.folded.folds).toEqual(alone.folded.folds);
      expect(work.folded.folds.length).toBeGreaterThan(0);
      // float32 sums in another order, where factors are folded before
      left.forEach((value, at) => expect(Math.abs(value - (through[at] ?? 0))).toBeLessThan(1e-4));
      await propagate(work);
      run.outputs().forEach((value, at) => expect(Math.abs(value - (expected[at] ?? 0))).toBeLessThan(1e-4));
    });
    expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  });
});
