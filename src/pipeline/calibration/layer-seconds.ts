// What weighs the ways in which a layer fits the GPU against each other.

import type { SequenceBatch } from "../../calibrate/batches.ts";
import { feedForwardLinears, tokenLinears } from "../../model/layer-linears.ts";
import { ringBytes } from "../../gpu/staging.ts";
import type { Linear } from "../../model/weight-description.ts";
import { residentBytes } from "../../onload/residency.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import type { CalibrationShape, GpuLimits, OnloadPhase } from "./calibration-memory.ts";

/** Rates that weigh flops against uploads when ways are compared: a middling GPU's. */
const FLOPS_PER_SECOND = 5e12;
const UPLOAD_BYTES_PER_SECOND = 4e9;
/** A ring of fewer bytes lets less be on its way while the GPU computes. */
const FAST_RING_BYTES = 32 * 1024 ** 2;
/** Small batches leave the GPU idle between dispatches, and each tile of a weight is a submit. */
const SUBMIT_SECONDS = 1e-3;

/** A run of the samples through a layer. */
export interface LayerRun {
  readonly onload: OnloadPhase;
  /** Linears that are computed; weights of others are not asked for. */
  readonly linears: readonly Linear[];
  /** How often each of them is computed. */
  readonly times: number;
}

/** What is to be run. */
export interface RunDemand {
  readonly lengths: readonly number[];
  readonly batches: readonly SequenceBatch[];
  readonly shape: CalibrationShape;
  readonly maxBufferBytes: GpuLimits["maxBufferBytes"];
}

/** Seconds that a layer takes in a way of fitting it, by its runs of the samples; of use for comparisons alone. */
export function layerSeconds(layer: CalibratedLayer, runs: readonly LayerRun[], demand: RunDemand): number {
  return runs.reduce((sum, run) => sum + runSeconds(layer, run, demand), 0);
}

function runSeconds(
  { description, dtypeOf }: CalibratedLayer,
  { onload, linears, times }: LayerRun,
  { lengths, batches, shape, maxBufferBytes }: RunDemand,
): number {
  const { maxTokens, mlpTokens, tileBytes, ring } = shape;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const parameters = linears.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const inner = new Set([...feedForwardLinears(description.feedForward), ...tokenLinears(description)]);
  const mlpRuns = Math.ceil(maxTokens / mlpTokens);
  const computed = new Set(linears);
  const states = tokens * description.hiddenSize * 4;
  let [uploaded, submits] = [onload.resident + states, batches.length * mlpRuns];
  for (const linear of onload.streamed) {
    if (!computed.has(linear)) continue;
    const uses = batches.length * times * (inner.has(linear) ? mlpRuns : 1);
    const bytes = residentBytes([linear], dtypeOf, maxBufferBytes);
    uploaded += uses * bytes;
    submits += uses * Math.ceil(bytes / tileBytes);
  }
  return (
    (times * 2 * tokens * parameters) / FLOPS_PER_SECOND +
    uploaded / uploadRate(ringBytes(ring)) +
    submits * SUBMIT_SECONDS
  );
}

function uploadRate(bytesOnTheirWay: number): number {
  return UPLOAD_BYTES_PER_SECOND * Math.sqrt(Math.min(bytesOnTheirWay / FAST_RING_BYTES, 1));
}
