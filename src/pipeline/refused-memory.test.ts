// A GPU may have less memory than it says: whatever is refused, a job ends with that sentence, and what it had taken is given back
// before the GPU is, since jobs that go on, and evaluations, come after it. Nothing is submitted that uses what is gone by then.

import { expect, it } from "vitest";
import { DeviceLimitError } from "../errors.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";

const METHOD = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const KIB = 1024;

type Changes = NonNullable<Parameters<typeof planFixture>[3]>;

interface Refused {
  readonly what: string;
  /** A model of the fixtures; default smollm3. */
  readonly model?: string;
  /** Modifiers in YAML, where they are not GPTQ alone. */
  readonly modifiers?: string;
  readonly scheme?: string;
  readonly changes?: Changes;
}

const JOBS: readonly Refused[] = [
  { what: "GPTQ", scheme: "W4A16", changes: { groupSize: 32 } },
  {
    what: "GPTQ of two results",
    scheme: "W8A8",
    changes: { beside: [{ scheme: "W4A16", groupSize: 32, method: METHOD }] },
  },
  { what: "GPTQ of a hybrid model", model: "qwen3-next", scheme: "W8A8" },
  // Weights settle, and some come early.
  { what: "GPTQ in little memory", scheme: "W8A8", changes: { gpuBudgetBytes: 1100 * KIB } },
  {
    what: "GPTQ in several passes",
    model: "qwen3-moe",
    scheme: "W8A8",
    changes: { gpuBudgetBytes: 1016 * KIB },
  },
  { what: "AWQ", modifiers: "AWQModifier: {n_grid: 3}, QuantizationModifier: {scheme: W8A8" },
  {
    what: "GPTQ that answers for drift behind AWQ",
    modifiers: "AWQModifier: {n_grid: 3}, GPTQModifier: {scheme: W8A8, drift: 0.5",
  },
];

it.each(JOBS)("$what gives all back where any buffer is refused", async (refused) => {
  const { model = "smollm3", scheme = "", modifiers, changes = {} } = refused;
  const yaml = modifiers && `s_stage: {q_modifiers: {${modifiers}, ignore: [lm_head]}}}`;
  const job = await planFixture(model, scheme, METHOD, { ...changes, ...(yaml && { yaml }) });
  const whole = job.machine();
  await whole.run();
  expect(whole.gpu.usedBehind).toEqual([]);
  const { labels } = whole.gpu;
  // Layers are alike: the first buffer of each kind.
  const kinds = new Map(labels.map((label, at) => [label.replaceAll(/\d+/g, "0"), at] as const).toReversed());
  expect(kinds.size).toBeGreaterThan(40);
  const ends = new Map<string, unknown>();
  for (const [kind, at] of kinds) {
    const machine = job.machine();
    const { gpu } = machine;
    gpu.refuseAt(at);
    const told = await machine.run().then(
      () => "nothing",
      (error: unknown) => (error instanceof DeviceLimitError ? error.message : error),
    );
    ends.set(kind, { told, left: [...gpu.leftBytes, gpu.liveBytes], usedBehind: gpu.usedBehind });
  }
  const told = expect.stringMatching(
    /^The GPU refused .* No memory is left\. - While .*\. Choose a smaller [^\\]*$/,
  );
  const clean = { told, left: [0, 0], usedBehind: [] };
  expect(ends).toEqual(new Map([...kinds.keys()].map((kind) => [kind, clean])));
});
