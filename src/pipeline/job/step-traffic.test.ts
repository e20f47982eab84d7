import { expect, it } from "vitest";
import type { PlannedStep } from "../planning/planned-step.ts";
import type { Job, RunOutput } from "./job.ts";
import { createStepTraffic } from "./step-traffic.ts";

it("asks for the rest of a step that is under way before the next ones, until it ends", async () => {
  const steps = [0, 1, 2].map((index) => {
    const ranges = [{ path: "model", start: index * 10, end: index * 10 + 10 }];
    return { index, ranges, bytes: 10, calibrated: null } as unknown as PlannedStep;
  });
  const asked: number[][] = [];
  const source = {
    prefetch: async (ranges: readonly { start: number }[]) => {
      asked.push(ranges.map(({ start }) => start));
      await Promise.resolve();
    },
    evict: async () => await Promise.resolve(),
  };
  const journal = { records: [] };
  const job = { plan: { steps }, source, control: {}, progress: {}, options: {}, model: { tensors: [] } };
  const output = { results: [{ journal }], journal, embedding: { keeps: false } };
  const traffic = createStepTraffic(job as unknown as Job, output as unknown as RunOutput);
  const [first, second, third] = steps as [PlannedStep, PlannedStep, PlannedStep];
  await traffic.begin(first);
  await traffic.begin(second);
  await traffic.end(first);
  await traffic.begin(third);
  expect(asked).toEqual([
    [0, 10, 20],
    [0, 10, 20],
    [10, 20],
  ]);
});
