// What earlier runs of a job, or earlier devices of this one, have finished is not done again.

import { DeviceLostError, firstCause } from "../../errors.ts";
import { isDone } from "./done-steps.ts";
import type { Job, RunOutput } from "./job.ts";
import { recordedModules } from "./job-journal.ts";

/** Attempts that a lost GPU gets without finishing a step in between; then the user is asked. */
const MAX_FRUITLESS_ATTEMPTS = 3;

/** Counts what earlier runs finished. */
export function skipFinished({ plan, progress }: Job, run: RunOutput): void {
  for (const step of plan.steps.filter((candidate) => isDone(run, plan.steps, candidate))) {
    progress.skipped(step.index, step.bytes);
  }
  const shown = run.results.find(({ job }) => job.plan.jobId === plan.jobId);
  if (shown) progress.addReports(recordedModules(shown.journal));
}

/** Tries again with a new device when the GPU was lost, as long as steps get finished in between. */
export async function survivingLoss(job: Job, output: RunOutput, run: () => Promise<void>): Promise<void> {
  const { journal } = output;
  let fruitless = 0;
  for (;;) {
    const before = journal.records.length;
    try {
      await run();
      return;
    } catch (thrown) {
      const error = firstCause(thrown);
      fruitless = journal.records.length > before ? 0 : fruitless + 1;
      if (!(error instanceof DeviceLostError) || fruitless >= MAX_FRUITLESS_ATTEMPTS) throw error;
      const next = job.plan.steps.find((step) => !isDone(output, job.plan.steps, step));
      const from = next?.name ?? "the end";
      job.progress.tell({ notice: `${error.message} Going on from ${from} with a new device.` });
    }
  }
}
