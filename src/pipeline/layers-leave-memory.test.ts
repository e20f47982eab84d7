// Layers are gigabytes, and a page's memory holds a few: one that is done with must not be held by anything that lasts longer.

import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { planFixture } from "../testing/jobs/plan-fixture.ts";

const METHOD = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const LAYERS = 4;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

it.each([
  { what: "GPTQ", recipe: "GPTQModifier: {scheme: W8A8", propagateError: true },
  { what: "GPTQ without errors", recipe: "GPTQModifier: {scheme: W8A8", propagateError: false },
  {
    what: "AWQ",
    recipe: "AWQModifier: {n_grid: 3}, QuantizationModifier: {scheme: W8A8",
    propagateError: true,
  },
])(
  "$what holds at most the layers at work and the next one on the host",
  async ({ recipe, propagateError }) => {
    const taken: WeakRef<Uint8Array>[] = [];
    const held: number[] = [];
    const onTaken = async (bytes: Uint8Array) => {
      // What a weak reference was asked for stays until the event loop turns.
      await setImmediate();
      collectGarbage();
      held.push(taken.filter((each) => each.deref() !== undefined).length);
      taken.push(new WeakRef(bytes));
    };
    const yaml = `s_stage: {q_modifiers: {${recipe}, ignore: [lm_head]}}}`;
    const job = await planFixture("smollm3", "", METHOD, { yaml, propagateError, onTaken });
    await job.machine().run();
    const each = taken.length / LAYERS;
    expect(each).toBeGreaterThan(8);
    const atWork = job.plan.calibration?.plan.sideBySide ? 2 : 1;
    expect(Math.max(...held)).toBeLessThanOrEqual((atWork + 1) * each);
  },
);
