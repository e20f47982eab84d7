// How one decoder layer fits into what a budget leaves it: its passes, which of its weights are resident in each, and what is held.

import { mostTokens, type SequenceBatch } from "../../../calibrate/batches.ts";
import { hessianBytes } from "../../../calibrate/hessians.ts";
import { type Capture, linearsBeforeOutput } from "../../../model/layer-linears.ts";
import { hasPlainRows } from "../../../onload/layer-weights.ts";
import { findRoom, type HeldBytes } from "./batches-at-work.ts";
import {
  type CalibratedLayer,
  goesAhead,
  leavesWhileCollecting,
  linearsUpTo,
} from "../layers/calibrated-layer.ts";
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
} from "../costs/calibration-memory.ts";
import { fitRewritings } from "./fit-rewritings.ts";
import { glancedLengths } from "../costs/glance-bytes.ts";
import type { LayerSchedule } from "./layer-schedule.ts";
import { type LayerRun, layerSeconds } from "../costs/layer-seconds.ts";
import { isPacked, packCaptures, type Packing } from "./pack-captures.ts";
import { planSettling, type Settled, type UnsettledPass } from "./plan-settling.ts";

export interface FittedLayer {
  readonly passes: LayerSchedule;
  readonly peak: number;
  /** The peak with overlap; null if the layer cannot have it. */
  readonly overlapPeak: number | null;
  /** How weights settle on the GPU as they are quantized; null if none would. */
  readonly settled: Settled | null;
  /** The peak with weights that stay while modifiers look for factors; infinite if they cannot. */
  readonly stayingPeak: number;
  /** The peak while another layer is at work beside it; infinite where samples do not leave it before its codes are chosen. */
  readonly besidePeak: number;
  /** What it then holds at most until samples have left it; null where that may be as much as ever. */
  readonly aheadBytes: number | null;
  /** What is held while samples run through it. */
  readonly held: HeldBytes;
  /** True if no weight is streamed while they are propagated. */
  readonly propagatesWhole: boolean;
  /** True of a head, which samples come to and do not run through. */
  readonly isHead: boolean;
  readonly seconds: number;
}

/** The samples that run through a layer. */
export interface LayerSamples {
  readonly lengths: readonly number[];
  readonly batches: readonly SequenceBatch[];
}

/** How a layer fits into the free bytes, in the passes that take the least time; null if it does not. */
export function fitLayer(
  layer: CalibratedLayer,
  samples: LayerSamples,
  shape: CalibrationShape,
  free: GpuLimits,
): FittedLayer | null {
  const fewest = fitPacked(layer, samples, { ...shape, packing: "fewest" }, free);
  if (!fewest || fewest.passes.resident || !mayBeResident(layer, shape, free)) return fewest;
  const resident = fitPacked(layer, samples, { ...shape, packing: "resident" }, free);
  return resident && resident.seconds < fewest.seconds ? resident : fewest;
}

/** False if weights would be streamed even beside nothing but the smallest Hessian. */
function mayBeResident(layer: CalibratedLayer, { tileBytes }: CalibrationShape, free: GpuLimits): boolean {
  const wanted = [...layer.captures, ...layer.rewritings.flatMap(({ hessians }) => hessians)];
  const smallest = wanted.toSorted((a, b) => a.columns - b.columns).slice(0, 1);
  const beside = free.budgetBytes - hessianBytes(smallest, free.maxBufferBytes) * (free.sums ?? 1);
  const onload = onloadPhase(layer, linearsBeforeOutput(layer.description), tileBytes, beside, free);
  return isPacked(onload, "resident");
}

interface PackedShape extends CalibrationShape {
  readonly packing: Packing;
}

const NOTHING_STAYS = { overlap: false, staysRewriting: false, settling: null, spareQuantizing: 0 } as const;

function fitPacked(
  layer: CalibratedLayer,
  { lengths, batches }: LayerSamples,
  shape: PackedShape,
  free: GpuLimits,
): FittedLayer | null {
  const passes = packPasses(layer, shape, free);
  const tokens = mostTokens(batches);
  const glanced = glancedLengths(lengths);
  const rewriting = fitRewritings(layer, { ...shape, tokens, glanced }, free);
  if (!rewriting) return null;
  const { runs, leaves } = sampleRuns(layer, passes, shape, free);
  const quantizing = quantizePhases(layer, passes, free);
  if (!quantizing || !runs) return null;
  const { tileRows } = quantizing;
  const propagate = runs.propagate.onload;
  const calibrate = runs.calibrate.map(({ onload }) => onload);
  const residency = {
    calibrate: calibrate.map((onload) => onload.residency),
    propagate: propagate.residency,
  };
  const held = { calibrate: calibrate.map(({ bytes }) => bytes), propagate: propagate.bytes };
  const all = [...runs.calibrate, runs.propagate, ...rewriting.runs];
  const resident = all.every(({ onload }) => isPacked(onload, "resident"));
  const { atWork } = findRoom(held, -Infinity);
  const { passes: rewrites } = rewriting;
  const fitted = { passes, rewrites, leaves, tileRows, residency, resident, atWork, ...NOTHING_STAYS };
  const peak = Math.max(rewriting.bytes, quantizing.peak, ...all.map(({ onload }) => onload.bytes));
  const propagatesWhole = isPacked(propagate, "resident");
  const overlapping = overlapBesideWeights(layer, fitted, free);
  const overlapPeak = overlapping && propagate.bytes + overlapping.bytes;
  return {
    passes: { ...fitted, spareQuantizing: overlapping?.spare ?? 0 },
    peak,
    overlapPeak,
    stayingPeak: staysRewriting(layer, resident) ? propagate.bytes + rewriting.besideWeights : Infinity,
    ...besideOf(layer, rewriting.runs, { leaves, peak, overlapPeak }),
    settled: propagatesWhole ? settledOf(layer, { passes, tileRows, peak }, free) : null,
    held,
    propagatesWhole,
    isHead: layer.description.head !== undefined,
    seconds: layerSeconds(layer, all, { lengths, batches, shape, maxBufferBytes: free.maxBufferBytes }),
  };
}

/** The runs of the samples that collect, and the one that propagates; null if one of them does not fit. */
function sampleRuns(
  layer: CalibratedLayer,
  passes: readonly (readonly Capture[])[],
  shape: CalibrationShape,
  free: GpuLimits,
) {
  const collecting = passes.map((pass) => collectPhase(layer, pass, shape.tileBytes, free));
  const leaving = leavingPhase(layer, passes.at(-1), collecting.at(-1), { shape, free });
  const propagating = onloadPhase(layer, layer.linears, shape.tileBytes, free.budgetBytes, free);
  const leaves = passes.length === 0 ? leavesWhileCollecting(layer) : leaving !== null;
  const calibrate = passes.flatMap((pass, index): LayerRun[] => {
    const goesOn = leaving !== null && index === passes.length - 1;
    const onload = goesOn ? leaving : collecting[index];
    const linears = goesOn ? layer.linears : linearsUpTo(layer, pass);
    return onload ? [{ onload, linears, times: 1 }] : [];
  });
  if (!propagating || calibrate.length < passes.length) return { runs: null, leaves };
  const propagate: LayerRun = { onload: propagating, linears: layer.linears, times: 1 };
  return { runs: { calibrate, propagate }, leaves };
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
  return isPacked(leaving, "resident") || !isPacked(stopping ?? null, "resident") ? leaving : null;
}

/** What choosing the codes of all passes takes; null if it does not fit. */
function quantizePhases(layer: CalibratedLayer, passes: readonly (readonly Capture[])[], free: GpuLimits) {
  const tileRows = new Map<string, number>();
  let peak = 0;
  for (const pass of passes) {
    const quantize = quantizePhase(layer, pass, free.budgetBytes, free);
    if (!quantize) return null;
    peak = Math.max(peak, quantize.bytes);
    for (const [module, rows] of quantize.tileRows) tileRows.set(module, rows);
  }
  return { tileRows, peak };
}

/** How weights settle behind the only pass. */
function settledOf(
  layer: CalibratedLayer,
  { passes, ...unsettled }: Omit<UnsettledPass, "captures"> & Pick<LayerSchedule, "passes">,
  free: GpuLimits,
): Settled | null {
  const [captures, ...others] = passes;
  return captures && others.length === 0 ? planSettling(layer, { captures, ...unsettled }, free) : null;
}

function besideOf(
  layer: CalibratedLayer,
  rewriting: readonly LayerRun[],
  { leaves, peak, overlapPeak }: Pick<FittedLayer, "peak" | "overlapPeak"> & { readonly leaves: boolean },
): Pick<FittedLayer, "besidePeak" | "aheadBytes"> {
  // Nothing leaves a head, and it is the last to be at work.
  if (layer.description.head) return { besidePeak: peak, aheadBytes: null };
  if (leaves) return { besidePeak: overlapPeak ?? Infinity, aheadBytes: null };
  if (!goesAhead(layer)) return { besidePeak: Infinity, aheadBytes: null };
  return { besidePeak: peak, aheadBytes: bytesOfOnly(rewriting) };
}

/** Of several runs of the samples, all but the last are followed by what modifiers make of them. */
function bytesOfOnly([run, ...others]: readonly LayerRun[]): number | null {
  return run && others.length === 0 ? run.onload.bytes : null;
}

/** True if modifiers may look at weights where samples run through them: all of them lie there as they lie in the source. */
function staysRewriting(layer: CalibratedLayer, resident: boolean): boolean {
  return resident && isPlain(layer) && layer.rewritings.some(({ mappings }) => mappings.length > 0);
}

function isPlain({ linears, dtypeOf }: CalibratedLayer): boolean {
  return linears.every((linear) => hasPlainRows(linear, dtypeOf(linear.source.tensor)));
}

/**
 * Weights stay where they are all resident, no later pass needs the original ones, and rows can be copied as they lie. What is
 * folded into them is folded in host memory, so then they come from there each time, and so does a head, in tiles: it may be larger than all
 * else of the job, and no samples run through it.
 * @returns what is held beside the weights at most, and what of it is free while they are quantized
 */
function overlapBesideWeights(
  layer: CalibratedLayer,
  { passes, resident, tileRows }: LayerSchedule,
  limits: GpuLimits,
): { readonly bytes: number; readonly spare: number } | null {
  const [pass] = passes;
  const folded = layer.rewritings.some(({ mappings }) => mappings.length > 0);
  if (!pass || passes.length > 1 || !resident || !isPlain(layer) || folded || layer.description.head)
    return null;
  const hessians = hessianBytes(pass, limits.maxBufferBytes) * (limits.sums ?? 1);
  const collecting = hessians + (collectedDriftBytes(layer, pass, limits) ?? 0);
  const quantizing = statisticsBytes(layer, pass, limits) + overlapBytes(layer, pass, { tileRows });
  const bytes = Math.max(collecting, quantizing);
  return { bytes, spare: bytes - quantizing };
}

/**
 * Captures in as few passes as the packing and the free bytes allow. The last ones that the forward pass meets come first: later passes
 * do without their modules' weights. Where samples go on from the last pass, that is the one that runs farthest anyway.
 */
function packPasses(
  layer: CalibratedLayer,
  { tileBytes, packing }: PackedShape,
  free: GpuLimits,
): Capture[][] {
  const passes = packCaptures(
    layer.captures,
    (pass) =>
      isPacked(collectPhase(layer, pass, tileBytes, free), packing) &&
      quantizePhase(layer, pass, free.budgetBytes, free) !== null,
  );
  return layer.leavesErrors ? passes.toReversed() : passes;
}
