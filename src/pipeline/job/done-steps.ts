// What of a run is done: a run's results may have come to different steps, and hidden states have to come by all of them.

import type { PlannedStep } from "../planning/planned-step.ts";
import { finishedGenerations, isFinished } from "./job-journal.ts";
import type { RunOutput } from "./job.ts";

/** True if no result lacks the step and, of a decoder layer, hidden states are behind it or not wanted any more. */
export function isDone(
  { journal, results }: Pick<RunOutput, "journal" | "results">,
  steps: readonly PlannedStep[],
  step: PlannedStep,
): boolean {
  const isWritten = (asked: PlannedStep) => results.every((result) => isFinished(result.journal, asked));
  if (!step.calibrated) return isWritten(step);
  const layers = steps.filter(({ calibrated }) => calibrated !== null);
  return layers.every(isWritten) || layers.indexOf(step) < finishedGenerations(journal, steps);
}
