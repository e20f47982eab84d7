import { expect, it } from "vitest";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import { planTrials, withTrials } from "./plan-trials.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

it("counts a layer's trials, and those of earlier layers that go on through it", async () => {
  const { plan, results } = await planFixture("llama", "W8A8", GPTQ, { propagateError: false });
  const { lengths, sets } = planTrials(plan);
  // All of the first batch, of two that have a sample of 24 tokens each, are fewer than would be taken.
  expect(lengths).toEqual([24]);
  const layers = plan.steps.filter(({ calibrated }) => calibrated !== null);
  expect([...sets.keys()]).toEqual(layers.map(({ index }) => index));
  const first = sets.get(layers[0]?.index ?? -1) ?? [];
  expect(first.map(({ length }) => length).toSorted((a, b) => a - b)).toEqual([1, 1, 2, 3]);
  const planned = withTrials({ lead: plan, results, notes: [] }).lead;
  const added = layers.map(({ index, calibrated }) => {
    const work = planned.steps[index]?.calibrated?.work;
    expect(work?.calibrating).toBe(calibrated?.work.calibrating);
    return (work?.propagating ?? 0) - (calibrated?.work.propagating ?? 0);
  });
  // The samples as they are and four sets; then those five and four more.
  const [once = 0] = layers.map(({ calibrated }) => calibrated?.passingWork);
  expect(added).toEqual([(5 * once) / 2, (9 * once) / 2]);
});

it("leaves a head as it is: samples end behind the last layer", async () => {
  const original = { propagateError: false, ignore: [] };
  const { plan, results } = await planFixture("mistral-sliding", "W8A8", GPTQ, original);
  expect(plan.steps.at(-1)?.calibrated?.layer.captures).toMatchObject([{ modules: ["lm_head"] }]);
  const { steps } = withTrials({ lead: plan, results, notes: [] }).lead;
  expect(steps.map(({ calibrated }) => calibrated?.isLast)).toEqual([undefined, false, true, undefined]);
  expect([...planTrials({ ...plan, steps }).sets.keys()]).toEqual([1, 2]);
});
