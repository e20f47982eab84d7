import { expect, it } from "vitest";
import { invariant } from "../../../errors.ts";
import { planFixture } from "../../../testing/jobs/plan-fixture.ts";
import { MIB, planFor } from "../../../testing/layers/small-layer.ts";
import type { CalibratedLayer } from "../layers/calibrated-layer.ts";
import { firstAlike } from "./alike-layers.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const CHANNELS =
  "config_groups: {g: {targets: [Linear], weights: {num_bits: 8, type: int, strategy: channel}}}";

/** A job whose weights settle while they are quantized, as they do behind factors. */
async function settlingJob(ignore: readonly string[]) {
  const modifiers = `AWQModifier: {n_grid: 3}, GPTQModifier: {${CHANNELS}, ignore: [lm_head, ${ignore.join()}]}`;
  return await planFixture("llama", "W8A8", GPTQ, { yaml: `s_stage: {q_modifiers: {${modifiers}}}` });
}

it.each([
  { what: "the same modules", ignore: [`"re:.*v_proj"`, `"re:.*up_proj"`] },
  { what: "modules of one shape", ignore: [`"re:.*layers.0.*gate_proj"`, `"re:.*layers.1.*up_proj"`] },
])("layers of one shape whose recipe ignores $what bring their own to the GPU", async ({ ignore }) => {
  const job = await settlingJob(ignore);
  const layers = job.plan.steps.filter(({ calibrated }) => calibrated !== null);
  expect(layers).toHaveLength(2);
  for (const { name, calibrated } of layers) {
    const { settling } = calibrated?.schedule ?? {};
    const brought = settling?.turns.flatMap(({ brings }) => brings) ?? [];
    const modules = settling?.turns.flatMap(({ capture }) => capture.modules) ?? [];
    expect(brought.length).toBeGreaterThan(4);
    expect(brought.every((module) => module.startsWith(`${name}.`))).toBe(true);
    expect(brought.toSorted()).toEqual(modules.toSorted());
  }
  const { peakGpuBytes } = await job.machine().run();
  expect(peakGpuBytes).toBeLessThanOrEqual(job.plan.peakGpuBytes);
});

it("layers whose tensors are of other dtypes, or that have other vectors, are fitted for themselves", () => {
  const [layer] = planFor({ experts: 0, budgetBytes: 64 * MIB }, "").layers;
  invariant(layer, "the model has a layer");
  const alike = (other: Partial<CalibratedLayer>) => firstAlike([layer, { ...layer, ...other }])[1] === layer;
  expect(alike({})).toBe(true);
  expect(alike({ dtypeOf: () => "F32" })).toBe(false);
  expect(alike({ vectors: layer.vectors.slice(1) })).toBe(false);
  expect(alike({ tasks: layer.tasks.map((task) => ({ ...task, dtype: "F32" })) })).toBe(false);
});
