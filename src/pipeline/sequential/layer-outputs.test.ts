import { expect, it } from "vitest";
import { invariant } from "../../errors.ts";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import type { Job } from "../job/job.ts";
import { outputsOf } from "./layer-outputs.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

/** Of each layer that samples come to, whether they run through what a result makes of it. */
async function followed(ignore: readonly string[], propagateError: boolean) {
  const { plan } = await planFixture("mistral-sliding", "W8A8", GPTQ, { ignore, propagateError });
  const job = { plan } as unknown as Job;
  const store = { write: () => undefined, flush: () => undefined };
  const results = [{ job, store, journal: { records: [], append: () => undefined } }];
  return plan.steps.flatMap((step) => {
    if (!step.calibrated) return [];
    const [made, ...others] = outputsOf({ job, output: { results } }, step.calibrated, step);
    invariant(made && others.length === 0, "there is one result");
    return [made.output.propagates];
  });
}

it("has samples run through what becomes of each layer, but of the one in front of a head that is calibrated, and of that", async () => {
  expect(await followed(["lm_head"], true)).toEqual([true, true]);
  expect(await followed([], true)).toEqual([true, false, false]);
  expect(await followed([], false)).toEqual([false, false, false]);
});
