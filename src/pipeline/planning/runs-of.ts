import type { PlannedStep } from "./planned-step.ts";

/** Steps that are done in one go. */
export interface StepRun {
  readonly calibrated: boolean;
  readonly steps: readonly PlannedStep[];
}

/**
 * Steps of one kind: what samples run through, all of it at once, and everything else before it and behind. Names may sort other parts of a
 * model between the decoder's last layer and its head.
 */
export function runsOf({ steps }: { readonly steps: readonly PlannedStep[] }): StepRun[] {
  const first = steps.findIndex(({ calibrated }) => calibrated !== null);
  const calibrated = steps.filter((step) => step.calibrated !== null);
  const others = steps.filter((step) => step.calibrated === null);
  const before = others.filter((step) => first < 0 || steps.indexOf(step) < first);
  const behind = others.filter((step) => !before.includes(step));
  return [
    { calibrated: false, steps: before },
    { calibrated: true, steps: calibrated },
    { calibrated: false, steps: behind },
  ].filter((run) => run.steps.length > 0);
}
