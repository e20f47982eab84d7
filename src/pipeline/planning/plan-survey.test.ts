import { expect, it } from "vitest";
import type { ModuleReport } from "../../api/compressor-api.ts";
import { planFixture } from "../../testing/jobs/plan-fixture.ts";
import { measuredSchemes, recipeOfSize, surveyOf } from "./plan-survey.ts";
import { planTrials } from "./plan-trials.ts";
import { withoutHead } from "./planned-step.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

const reportOf = (module: string, loss: number): ModuleReport => ({
  module,
  loss,
  rtnLoss: loss,
  dampeningFrac: 0.01,
  attempts: 1,
  deadColumns: 0,
  tokens: 48,
  rounded: false,
  seconds: 0,
});

it("takes what a set does to the end with the smallest scheme, and of others as much as their errors are", async () => {
  const beside = [{ scheme: "W4A16", groupSize: 32, method: GPTQ }];
  const run = await planFixture("llama", "W8A16", GPTQ, { groupSize: 32, beside, propagateError: false });
  const plans = run.results.map(({ plan }) => plan);
  const sets = [...planTrials(run.plan).sets.values()].flat();
  const trials = sets.map((modules, index) => ({ modules, moved: 10 ** -index }));
  const reports = [0.01, 1].map((loss) => sets.flat().map((module) => reportOf(module, loss)));
  const measured = measuredSchemes(plans, reports, trials);
  expect(measured.units.map(({ modules }) => modules)).toEqual(sets);
  for (const [index, { choices }] of measured.units.entries()) {
    const [wide, narrow, plain] = choices;
    expect(narrow?.loss).toBeCloseTo(10 ** -index, 12);
    expect(wide?.loss).toBeCloseTo(10 ** -index / 100, 12);
    expect(plain?.loss).toBe(0);
    expect((wide?.bytes ?? 0) > (narrow?.bytes ?? 0) && (plain?.bytes ?? 0) > (wide?.bytes ?? 0)).toBe(true);
  }
  const { schemes, curve } = surveyOf(measured);
  expect(schemes).toEqual(["W8A16-G32", "W4A16-G32", "as it is"]);
  const [least] = curve;
  // Room for one set more, which is the one that does the most.
  const chosen = recipeOfSize(measured, (curve[1]?.resultBytes ?? 0) + 1);
  expect(chosen.counts).toEqual([sets[0]?.length, sets.flat().length - (sets[0]?.length ?? 0), 0]);
  expect(chosen.loss).toBeLessThan(least?.loss ?? 0);
  const untried = measuredSchemes(plans, reports, trials.slice(1));
  expect(untried.units.flatMap(({ modules }) => modules)).not.toContain(sets[0]?.[0]);
});

it("counts a head as it is, which no scheme is chosen for, whether the recipes ignore it or not", async () => {
  const curveOf = async (ignore: readonly string[]) => {
    const beside = [{ scheme: "W4A16", groupSize: 32, method: GPTQ }];
    const changes = { groupSize: 32, beside, ignore, propagateError: false };
    const run = await planFixture("mistral-sliding", "W8A16", GPTQ, changes);
    const plans = run.results.map(({ plan }) => plan);
    const sets = [...planTrials({ ...run.plan, steps: withoutHead(run.plan.steps) }).sets.values()].flat();
    const reports = [0.01, 1].map((loss) => sets.flat().map((module) => reportOf(module, loss)));
    const trials = sets.map((modules) => ({ modules, moved: 1 }));
    expect(sets.flat()).not.toContain("lm_head");
    return surveyOf(measuredSchemes(plans, reports, trials)).curve;
  };
  const [ignoring, quantizing] = [await curveOf(["lm_head"]), await curveOf([])];
  const bits = (curve: typeof ignoring) => curve.map(({ bitsPerWeight }) => bitsPerWeight);
  expect(bits(quantizing)).toEqual(bits(ignoring));
  for (const [at, { resultBytes }] of ignoring.entries()) {
    // A head that is quantized has more tensors, which the files' headers name.
    const headers = (quantizing[at]?.resultBytes ?? 0) - resultBytes;
    expect(headers).toBeGreaterThanOrEqual(0);
    expect(headers).toBeLessThan(400);
  }
});
