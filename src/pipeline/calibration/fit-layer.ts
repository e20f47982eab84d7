// How one decoder layer fits into what a budget leaves it: its passes, which of its weights are resident in each, and what is held.

import type { SequenceBatch } from "../../calibrate/batches.ts";
import { hessianBytes } from "../../calibrate/hessians.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { hasPlainRows } from "../../onload/layer-weights.ts";
import { findRoom, type HeldBytes } from "./batches-at-work.ts";
import { type CalibratedLayer, goesAhead, leavesWhileCollecting } from "./calibrated-layer.ts";
import {
  type CalibrationShape,
  collectedDriftBytes,
  collectPhase,
  type GpuLimits,
  type OnloadPhase,
  onloadPhase,
  overlapBytes,
  quantizePhase,
  statisticsBytes,
} from "./calibration-memory.ts";
import { fitRewritings } from "./fit-rewritings.ts";
import type { LayerSchedule } from "./layer-schedule.ts";
import { layerSeconds } from "./layer-seconds.ts";
import { packCaptures } from "./pack-captures.ts";
import { planSettling } from "./plan-settling.ts";

export interface FittedLayer {
  readonly passes: LayerSchedule;
  readonly peak: number;
  /** The peak with overlap; null if the layer cannot have it. */
  readonly overlapPeak: number | null;
  /** The same with weights that settle on the GPU as they are quantized; infinite if none would. */
  readonly settlingPeak: number;
  /** The peak while another layer is at work beside it; infinite where samples do not leave it before its codes are chosen. */
  readonly besidePeak: number;
  /** What is held while samples run through it. */
  readonly held: HeldBytes;
  readonly seconds: number;
}

/** How a layer fits into the free bytes; null if it does not. */
export function fitLayer(
  layer: CalibratedLayer,
  lengths: readonly number[],
  batches: readonly SequenceBatch[],
  shape: CalibrationShape,
  free: GpuLimits,
): FittedLayer | null {
  const passes = packPasses(layer, shape, free);
  const tokens = Math.max(...batches.map((batch) => batch.tokens));
  const rewriting = fitRewritings(layer, { ...shape, tokens }, free);
  if (!rewriting) return null;
  const { phases, leaves } = samplePhases(layer, passes, shape, free);
  const quantizing = quantizePhases(layer, passes, shape, free);
  if (!quantizing) return null;
  const { tileRows, settled } = quantizing;
  const onloads = phases.filter((phase) => phase !== null);
  const [propagate, calibrate] = [onloads.at(-1), onloads.slice(0, -1)];
  if (!propagate || onloads.length < phases.length) return null;
  const residency = {
    calibrate: calibrate.map((onload) => onload.residency),
    propagate: propagate.residency,
  };
  const held = { calibrate: calibrate.map(({ bytes }) => bytes), propagate: propagate.bytes };
  onloads.push(...rewriting.onloads);
  const resident = onloads.every(({ streamed }) => streamed === 0);
  const stays = { overlap: false, settling: settled?.turns ?? null };
  const { atWork } = findRoom(held, -Infinity);
  const fitted = {
    passes,
    rewrites: rewriting.passes,
    leaves,
    tileRows,
    residency,
    resident,
    atWork,
    ...stays,
  };
  const peak = Math.max(rewriting.bytes, quantizing.peak, ...onloads.map(({ bytes }) => bytes));
  const overlapPeak = overlapPeakOf(layer, fitted, propagate.bytes, free);
  return {
    passes: fitted,
    peak,
    overlapPeak,
    besidePeak: leaves ? (overlapPeak ?? Infinity) : goesAhead(layer) ? peak : Infinity,
    settlingPeak: settled && propagate.streamed === 0 ? settled.peak : Infinity,
    held,
    seconds: layerSeconds(layer, lengths, batches, shape, onloads),
  };
}

/** The runs of the samples that collect, and the one that propagates last, null those that do not fit. */
function samplePhases(
  layer: CalibratedLayer,
  passes: readonly (readonly Capture[])[],
  shape: CalibrationShape,
  free: GpuLimits,
): { readonly phases: readonly (OnloadPhase | null)[]; readonly leaves: boolean } {
  const collecting = passes.map((pass) => collectPhase(layer, pass, shape.tileBytes, free));
  const leaving = leavingPhase(layer, passes.at(-1), collecting.at(-1), { shape, free });
  const propagating = onloadPhase(layer, layer.linears, shape.tileBytes, free.budgetBytes, free);
  return {
    phases: [...(leaving ? [...collecting.slice(0, -1), leaving] : collecting), propagating],
    leaves: passes.length === 0 ? leavesWhileCollecting(layer) : leaving !== null,
  };
}

/** The last pass if it goes on to the layer's output; null if it must not, or if that would have weights streamed. */
function leavingPhase(
  layer: CalibratedLayer,
  pass: readonly Capture[] | undefined,
  stopping: OnloadPhase | null | undefined,
  { shape, free }: { readonly shape: CalibrationShape; readonly free: GpuLimits },
): OnloadPhase | null {
  if (!pass || !leavesWhileCollecting(layer)) return null;
  const leaving = collectPhase(layer, pass, shape.tileBytes, free, true);
  return leaving?.streamed === 0 || stopping?.streamed !== 0 ? leaving : null;
}

/** What choosing the codes of all passes takes; null if it does not fit. */
function quantizePhases(
  layer: CalibratedLayer,
  passes: readonly (readonly Capture[])[],
  shape: CalibrationShape,
  free: GpuLimits,
) {
  const tileRows = new Map<string, number>();
  let peak = 0;
  let settled: ReturnType<typeof planSettling> = null;
  for (const pass of passes) {
    const quantize = quantizePhase(layer, pass, free.budgetBytes, free);
    if (!quantize) return null;
    peak = Math.max(peak, quantize.bytes);
    if (passes.length === 1) settled = planSettling(layer, pass, quantize, shape.ring, free);
    for (const [module, rows] of quantize.tileRows) tileRows.set(module, rows);
  }
  return { tileRows, peak, settled };
}

/**
 * Weights stay where they are all resident, no later pass needs the original ones, and rows can be copied as they lie. What is
 * folded into them is folded in host memory, so then they come from there each time.
 */
function overlapPeakOf(
  layer: CalibratedLayer,
  { passes, resident, tileRows }: LayerSchedule,
  weightsBytes: number,
  limits: GpuLimits,
): number | null {
  const [pass] = passes;
  const plain = layer.linears.every((linear) => hasPlainRows(linear, layer.dtypeOf(linear.source.tensor)));
  const folded = layer.rewritings.some(({ mappings }) => mappings.length > 0);
  if (!pass || passes.length > 1 || !resident || !plain || folded) return null;
  const hessians = hessianBytes(pass, limits.maxBufferBytes) * (limits.sums ?? 1);
  const collecting = hessians + (collectedDriftBytes(layer, pass, limits) ?? 0);
  const quantizing = statisticsBytes(layer, pass, limits) + overlapBytes(layer, pass, { tileRows });
  return weightsBytes + Math.max(collecting, quantizing);
}

/** Captures in as few passes as the free bytes allow. */
function packPasses(layer: CalibratedLayer, shape: CalibrationShape, free: GpuLimits): Capture[][] {
  return packCaptures(
    layer.captures,
    (pass) =>
      collectPhase(layer, pass, shape.tileBytes, free) !== null &&
      quantizePhase(layer, pass, free.budgetBytes, free) !== null,
  );
}
