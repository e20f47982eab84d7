// What a run that makes several results tells of batches that one of them would not have alone.

import { rowRuns } from "../../calibrate/forward/row-runs.ts";
import type { CalibrationPlan } from "../calibration/fit/calibration-plan.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";

/** What of a calibrated job tells on what its sums over samples depend. */
export interface SummedJob {
  readonly plan: Pick<CalibrationPlan, "batches" | "strassen"> & {
    readonly workspace: Pick<CalibrationPlan["workspace"], "mlpTokens" | "experts">;
  };
  readonly options: Pick<CalibrationJob["options"], "forward_products" | "moe_calibrate_all_experts">;
}

/**
 * That results may differ in their last bits from those of jobs of their own, where samples are cut otherwise for the run and that matters:
 * sums of plain float32 are made of units of samples, which batches do not part, and MLPs only where they have no room for one.
 * @param alone the results as jobs of their own
 */
export function batchNotes(
  run: SummedJob,
  alone: readonly (SummedJob | null)[],
  hasMatrixUnits: boolean,
): string[] {
  const isCutAlike = (job: SummedJob) => {
    const cuts = [run, job].some((each) => looksAtBatches(each, hasMatrixUnits)) ? allCuts : partedUnits;
    return cuts(job).join() === cuts(run).join();
  };
  if (alone.every((job) => job === null || isCutAlike(job))) return [];
  return [
    "Within this GPU budget samples are cut into other batches than one of the recipes would have alone: its result may differ from that in the last bits. A larger budget gives the same bytes.",
  ];
}

/** Whether more of a batch than a unit has a part in a sum: forward products that scale or pair rows, experts that see their own tokens. */
function looksAtBatches({ plan, options }: SummedJob, hasMatrixUnits: boolean): boolean {
  const onUnits = hasMatrixUnits && options.forward_products === "AUTO";
  const routed = plan.workspace.experts !== null && !options.moe_calibrate_all_experts;
  return onUnits || plan.strassen !== null || routed;
}

/** Ends of batches, and of the runs of their MLPs, as tokens of all samples. */
function allCuts(job: SummedJob): number[] {
  return [...job.plan.batches.map(({ firstToken, tokens }) => firstToken + tokens), ...endsOfRuns(job)];
}

/** Ends of runs that lie within units. */
function partedUnits(job: SummedJob): number[] {
  const ends = new Set(
    job.plan.batches.flatMap(({ firstToken, units = [] }) => units.map((end) => firstToken + end)),
  );
  return endsOfRuns(job).filter((end) => !ends.has(end));
}

function endsOfRuns({ plan }: SummedJob): number[] {
  return plan.batches.flatMap(({ firstToken, tokens: rows, units }) =>
    Array.from(
      rowRuns({ firstRow: 0, rows }, plan.workspace.mlpTokens, units),
      (run) => firstToken + run.firstRow + run.rows,
    ),
  );
}
