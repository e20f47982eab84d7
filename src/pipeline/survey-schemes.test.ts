// A survey under the real conductor on a stub of a GPU: it measures every set of modules, and leaves nothing.

import { expect, it } from "vitest";
import { planFixture } from "../testing/jobs/plan-fixture.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;

it("measures every set of modules in every scheme, whether or not the GPU is lost, and leaves no file", async () => {
  const beside = [{ scheme: "W4A16", groupSize: 32, method: GPTQ }];
  const job = await planFixture("llama", "W8A16", GPTQ, { groupSize: 32, beside, propagateError: false });
  const machine = job.machine();
  const { units, counted } = await machine.survey();
  const quantized = job.plan.steps.flatMap(({ quantize }) => quantize);
  expect(units.flatMap(({ modules }) => modules).toSorted()).toEqual(
    quantized.map(({ module }) => module).toSorted(),
  );
  expect(counted.weights).toBe(quantized.reduce((sum, { rows, columns }) => sum + rows * columns, 0));
  for (const { choices } of units) {
    expect(choices).toHaveLength(3);
    for (const { bytes, loss } of choices) expect(bytes > 0 && Number.isFinite(loss)).toBe(true);
  }
  expect([...machine.disk.files()]).toEqual([]);
  for (const part of [0.3, 0.7]) {
    const other = job.machine();
    other.gpu.loseAt(Math.floor(machine.gpu.submits * part));
    expect((await other.survey()).units).toEqual(units);
  }
});
