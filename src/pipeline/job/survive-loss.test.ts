import "../../disposal.ts";
import { expect, it } from "vitest";
import { DeviceLostError } from "../../errors.ts";
import type { Job, RunOutput } from "./job.ts";
import { survivingLoss } from "./survive-loss.ts";

it("goes on with a new device though a disposer has failed behind the loss of the last one", async () => {
  const notices: unknown[] = [];
  const job = { plan: { steps: [] }, progress: { tell: (told: unknown) => void notices.push(told) } };
  const output = { journal: { records: [] } };
  let runs = 0;
  await survivingLoss(job as unknown as Job, output as unknown as RunOutput, async () => {
    runs++;
    using _ = {
      [Symbol.dispose]() {
        if (runs === 1) throw new Error("The disposer fails, too.");
      },
    };
    if (runs === 1) await Promise.reject(new DeviceLostError("The GPU was lost."));
  });
  expect(runs).toBe(2);
  expect(notices).toEqual([{ notice: "The GPU was lost. Going on from the end with a new device." }]);
});
