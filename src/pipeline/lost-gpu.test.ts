import { expect, it } from "vitest";
import { planFixture } from "../testing/jobs/plan-fixture.ts";

const METHOD = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const KIB = 1024;
/** Between two submits that are tried: layers are alike, and no phase has fewer. */
const STEP = 5;

it("goes on when the GPU is lost while weights settle on it, or come early, and ends with the same bytes", async () => {
  const job = await planFixture("qwen3", "W8A8", METHOD, { gpuBudgetBytes: 1140 * KIB });
  const plan = job.plan.calibration?.plan;
  expect(plan?.layers.every(({ settling }) => settling !== null)).toBe(true);
  expect(plan?.earlyBytes).toBeGreaterThan(0);
  const whole = job.machine();
  await whole.run();
  for (let submit = 1; submit <= whole.gpu.submits; submit += STEP) {
    const machine = job.machine();
    machine.gpu.loseAt(submit);
    await machine.run();
    expect(machine.output()).toEqual(whole.output());
    const { leftBytes, liveBytes, usedBehind } = machine.gpu;
    expect({ submit, left: new Set([...leftBytes, liveBytes]), usedBehind }).toEqual({
      submit,
      left: new Set([0]),
      usedBehind: [],
    });
  }
});
