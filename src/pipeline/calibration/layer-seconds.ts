// What weighs the ways in which a layer fits the GPU against each other.

import type { SequenceBatch } from "../../calibrate/batches.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import type { CalibrationShape, OnloadPhase } from "./calibration-memory.ts";

/** Rates that weigh flops against uploads when ways are compared: a middling GPU's. */
const FLOPS_PER_SECOND = 5e12;
const UPLOAD_BYTES_PER_SECOND = 4e9;

/** Seconds that a layer takes in a way of fitting it, `onloads` its runs of the samples; of use for comparisons alone. */
export function layerSeconds(
  layer: CalibratedLayer,
  lengths: readonly number[],
  batches: readonly SequenceBatch[],
  shape: CalibrationShape,
  onloads: readonly OnloadPhase[],
): number {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const parameters = layer.linears.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const runs = batches.length * mlpRuns(shape);
  const uploaded = onloads.reduce((sum, { resident, streamed }) => sum + resident + runs * streamed, 0);
  return (
    (onloads.length * 2 * tokens * parameters) / FLOPS_PER_SECOND +
    uploaded / UPLOAD_BYTES_PER_SECOND +
    // small batches leave the GPU idle between dispatches
    runs * 1e-3
  );
}

function mlpRuns({ maxTokens, mlpTokens }: CalibrationShape): number {
  return Math.ceil(maxTokens / mlpTokens);
}
