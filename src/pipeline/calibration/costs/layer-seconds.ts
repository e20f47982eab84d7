// What weighs the ways in which a layer fits the GPU against each other.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { rowRuns } from "../../../calibrate/forward/row-runs.ts";
import { feedForwardLinears, tokenLinears } from "../../../model/layer-linears.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { residentBytes } from "../../../onload/residency.ts";
import type { CalibratedLayer } from "../layers/calibrated-layer.ts";
import type { CalibrationShape, GpuLimits, OnloadPhase } from "./calibration-memory.ts";

/** Rates that weigh flops against uploads when ways are compared: a middling GPU's. */
const FLOPS_PER_SECOND = 5e12;
const UPLOAD_BYTES_PER_SECOND = 4e9;
/** Smaller pieces let less be on its way while the GPU computes. What more of them give is not counted: that is for room to spare. */
const FAST_PIECE_BYTES = 16 * 1024 ** 2;
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
  const counted = { ...demand, mlpRuns: mlpRuns(demand) };
  return runs.reduce((sum, run) => sum + runSeconds(layer, run, counted), 0);
}

interface CountedDemand extends RunDemand {
  readonly mlpRuns: number;
}

function runSeconds(layer: CalibratedLayer, run: LayerRun, demand: CountedDemand): number {
  const { onload, linears, times } = run;
  const { lengths, shape } = demand;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const parameters = linears.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const states = tokens * layer.description.hiddenSize * 4;
  const streamed = onload.streamed.length > 0 ? streamedIn(layer, run, demand) : { bytes: 0, tiles: 0 };
  return (
    (times * 2 * tokens * parameters) / FLOPS_PER_SECOND +
    (onload.resident + states + streamed.bytes) / uploadRate(shape.ring.pieceBytes) +
    (demand.mlpRuns + streamed.tiles) * SUBMIT_SECONDS
  );
}

/** What is uploaded anew for each batch, or for each part of one whose MLP is computed at once. */
function streamedIn(
  { description, dtypeOf }: CalibratedLayer,
  { onload, linears, times }: LayerRun,
  { batches, mlpRuns: runs, shape, maxBufferBytes }: CountedDemand,
): { readonly bytes: number; readonly tiles: number } {
  const inner = new Set([...feedForwardLinears(description.feedForward), ...tokenLinears(description)]);
  const computed = new Set(linears);
  let [bytes, tiles] = [0, 0];
  for (const linear of onload.streamed) {
    if (!computed.has(linear)) continue;
    const uses = times * (inner.has(linear) ? runs : batches.length);
    const own = residentBytes([linear], dtypeOf, maxBufferBytes);
    bytes += uses * own;
    tiles += uses * Math.ceil(own / shape.tileBytes);
  }
  return { bytes, tiles };
}

/** Parts of all batches whose MLP is computed at once, as the forward pass cuts them: a batch may be larger or smaller than was asked for. */
function mlpRuns({ batches, shape }: RunDemand): number {
  const own = batches.map(({ tokens: rows, units }) => [
    ...rowRuns({ firstRow: 0, rows }, shape.mlpTokens, units),
  ]);
  return own.reduce((sum, { length }) => sum + length, 0);
}

/** Bytes a second that come through pieces of this size. */
export function uploadRate(pieceBytes: number): number {
  return UPLOAD_BYTES_PER_SECOND * Math.sqrt(Math.min(pieceBytes / FAST_PIECE_BYTES, 1));
}
