// Several results of one run, without a browser: the bytes of each are those of its own job, and what happens to the run on its
// way changes none of them.

import { describe, expect, it } from "vitest";
import type { AskedRecipe } from "../testing/jobs/asked-job.ts";
import type { Machine } from "../testing/jobs/machine.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";

const gptq = (scheme: string): AskedRecipe => ({
  scheme,
  method: { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" },
});
const rounded = (scheme: string): AskedRecipe => ({ scheme, method: { name: "QuantizationModifier" } });

const FIRST = gptq("W8A8");
const SECOND = { ...gptq("W8A16"), groupSize: 32 };
const THIRD = rounded("W8A8");
const BESIDE = [SECOND, THIRD];

async function plan(first: AskedRecipe, beside: readonly AskedRecipe[] = [], changes = {}) {
  const { scheme, method, ...more } = first;
  return await planFixture("llama", scheme, method, { ...more, beside, ...changes });
}

/** What was written; the card tells of times and memory, which a run of several takes more of. */
function written(machine: Machine, folder = ""): [string, string][] {
  const files = [...machine.output()].filter(([path]) => !path.endsWith("README.md"));
  return files.map(([path, digest]) => [folder + path, digest]);
}

async function alone(recipe: AskedRecipe, changes = {}) {
  const job = await plan(recipe, [], changes);
  const machine = job.machine();
  const { jobId } = await machine.run();
  return written(machine, `${jobId}/output/`);
}

describe("results of one run", () => {
  it("have the bytes of jobs of their own where hidden states follow none of them", async () => {
    const original = { propagateError: false };
    const machine = (await plan(FIRST, BESIDE, original)).machine();
    await machine.run();
    const each = [await alone(FIRST, original), await alone(SECOND, original)];
    expect(new Map(written(machine))).toEqual(new Map([...each.flat(), ...(await alone(THIRD))]));
  });

  it("have those of jobs along the recipe that hidden states follow, which is its own job", async () => {
    const machine = (await plan(FIRST, BESIDE)).machine();
    await machine.run();
    const along = await alone(SECOND, { along: FIRST });
    expect(along).not.toEqual(await alone(SECOND));
    const others = [...along, ...(await alone(THIRD))];
    expect(new Map(written(machine))).toEqual(new Map([...(await alone(FIRST)), ...others]));
    expect([...machine.disk.files()].filter(([path]) => path.includes("hidden-"))).toEqual([]);
  });

  it("have the same bytes when the world ends in between, all or one of them gone on with", async () => {
    const run = await plan(FIRST, BESIDE);
    const own = await plan(SECOND, [], { along: FIRST });
    const whole = run.machine();
    await whole.run();
    const output = new Map(written(whole));
    for (let at = 11, round = 0; at < whole.disk.operations; at += 47, round++) {
      const machine = run.machine();
      machine.disk.failAt(at, "crash");
      await machine.run().catch(() => undefined);
      machine.disk.recover();
      if (round % 2 === 1) await own.machine(machine.disk).run();
      await machine.run();
      expect(new Map(written(machine)), `after operation ${at}`).toEqual(output);
    }
  });
});
