// A GPU may have less memory than it says: whatever is refused, a job ends with that sentence, and what it had taken is given back
// before the GPU is, since jobs that go on, and evaluations, come after it.

import { expect, it } from "vitest";
import { DeviceLimitError } from "../errors.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";

const METHOD = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const AWQ =
  "s_stage: {q_modifiers: {AWQModifier: {n_grid: 3}, QuantizationModifier: {scheme: W8A8, ignore: [lm_head]}}}";

it.each([
  { what: "GPTQ", scheme: "W4A16", changes: { groupSize: 32 } },
  {
    what: "GPTQ of two results",
    scheme: "W8A8",
    changes: { beside: [{ scheme: "W4A16", groupSize: 32, method: METHOD }] },
  },
  // Its weights settle, and some come early.
  { what: "GPTQ in little memory", scheme: "W8A8", changes: { gpuBudgetBytes: 1100 * 1024 } },
  { what: "AWQ", scheme: "", changes: { yaml: AWQ } },
])("$what gives all back where any buffer is refused", async ({ scheme, changes }) => {
  const job = await planFixture("smollm3", scheme, METHOD, changes);
  const whole = job.machine();
  await whole.run();
  const { labels } = whole.gpu;
  // Layers are alike: the first buffer of each kind.
  const kinds = new Map(labels.map((label, at) => [label.replaceAll(/\d+/g, "0"), at] as const).toReversed());
  expect(kinds.size).toBeGreaterThan(40);
  const ends = new Map<string, unknown>();
  for (const [kind, at] of kinds) {
    const machine = job.machine();
    const { gpu } = machine;
    gpu.refuseAt(at);
    const refused = await machine.run().then(
      () => "nothing",
      (error: unknown) => error instanceof DeviceLimitError || error,
    );
    ends.set(kind, { refused, left: [...gpu.leftBytes, gpu.liveBytes] });
  }
  expect(ends).toEqual(new Map([...kinds.keys()].map((kind) => [kind, { refused: true, left: [0, 0] }])));
});
