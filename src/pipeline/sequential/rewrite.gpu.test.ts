import { expect, it } from "vitest";
import { hostLayer, MIB, only, openRun, planFor, RUN_BYTES, turnOf } from "../../testing/run-layer.ts";
import type { LayerSchedule } from "../calibration/layer-schedule.ts";
import { onload } from "./layer-at-work.ts";
import { propagate } from "./propagate.ts";
import { rewrite } from "./rewrite.ts";

const EXPERTS = 3;

it("scales a layer of experts by AWQ so that it loses less and computes the same, in one run of the samples or in many", async () => {
  const budgetBytes = 64 * MIB;
  const layer = {
    experts: EXPERTS,
    budgetBytes,
    dtype: "F32",
    before: "AWQModifier: {n_grid: 5}, ",
  } as const;
  const job = planFor(layer, "lm_head", { moe_calibrate_all_experts: false });
  using run = await openRun(job, budgetBytes);
  const planned = only(job.plan.layers);
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
  const apart = passes.flatMap((pass) => pass.captures.map((capture) => ({ ...pass, captures: [capture] })));
  expect(apart.length).toBeGreaterThan(passes.length);
  const many = await rewritten({ ...planned, rewrites: [apart] });
  expect(many.reports).toEqual(once.reports);
  expect(many.folds).toEqual(once.folds);
});

it("brings the samples to the next layer while it looks for factors, where nothing else wants to see them", async () => {
  const budgetBytes = 64 * MIB;
  const layer = { experts: 0, budgetBytes, before: "AWQModifier: {n_grid: 3}, " };
  const job = planFor({ ...layer, quantizer: "QuantizationModifier" }, "lm_head");
  expect(only(job.plan.layers).rewrites).toMatchObject([[{ propagates: true }]]);
  const behindGptq = planFor(layer, "lm_head").plan.layers;
  expect(only(behindGptq).rewrites).toMatchObject([[{ propagates: false }]]);
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
