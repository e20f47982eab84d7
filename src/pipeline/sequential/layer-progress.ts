// What a calibrated layer tells of its progress.

import { invariant } from "../../errors.ts";
import type { Job } from "../job/job.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import { sumOfPhases } from "../planning/plan-time.ts";
import type { SequentialServices } from "./services.ts";

/** Tells a layer's progress, and spreads its source bytes over its phases by their share of the work. */
export function layerProgress(
  job: Job,
  step: PlannedStep,
): { report: SequentialServices["report"]; end(): void } {
  const { bytes } = step;
  const work = job.time.layers.get(step.index);
  invariant(work, `${step.name} is a layer of the plan`);
  // What is reported begins then: it is done with when the next thing begins.
  let end = () => {};
  return {
    report(phase, detail, share) {
      end();
      job.progress.tell({ phase, detail });
      end = () =>
        job.progress.worked(step.index, phase, share, (bytes * share * work[phase]) / sumOfPhases(work));
    },
    end: () => end(),
  };
}
