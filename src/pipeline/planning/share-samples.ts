// A share of a job's samples: neighbouring batches of the whole job's plan. What samples become in a layer does not depend on
// the other batches, so that shares together hold the bytes of the whole.

import type { SampleShare } from "../../api/job-options.ts";
import type { SequenceBatch } from "../../calibrate/batches.ts";
import { CalibrationError, invariant } from "../../errors.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";

export interface SharedSamples {
  readonly calibration: CalibrationJob;
  /** Tokens of all batches before the share's. */
  readonly firstToken: number;
  /** The share's part of all tokens. */
  readonly portion: number;
}

/**
 * The job with the batches of one share alone.
 * @throws CalibrationError if there are fewer batches than shares
 */
export function shareSamples(calibration: CalibrationJob, { index, of }: SampleShare): SharedSamples {
  const { batches } = calibration.plan;
  if (of > batches.length)
    throw new CalibrationError(
      `The samples make ${batches.length === 1 ? "one batch" : `${batches.length} batches`} on this GPU and cannot be cut into ${of} shares. Ask for ${batches.length} at most.`,
    );
  const placeOf = (share: number) => Math.floor((share * batches.length) / of);
  return withBatches(calibration, batches.slice(placeOf(index), placeOf(index + 1)));
}

/** The job with some of its batches alone, neighbouring ones. */
export function withBatches(calibration: CalibrationJob, own: readonly SequenceBatch[]): SharedSamples {
  const { plan } = calibration;
  const { batches } = plan;
  const [first] = own;
  invariant(first, "each share has a batch");
  const shared = own.map((batch): SequenceBatch => ({
    ...batch,
    firstToken: batch.firstToken - first.firstToken,
  }));
  const portion = tokensOf(own) / tokensOf(batches);
  const hiddenBytes = (plan.hiddenBytes / tokensOf(batches)) * tokensOf(own);
  return {
    calibration: { ...calibration, plan: { ...plan, batches: shared, hiddenBytes } },
    firstToken: first.firstToken,
    portion,
  };
}

function tokensOf(batches: readonly SequenceBatch[]): number {
  return batches.reduce((sum, { tokens }) => sum + tokens, 0);
}
