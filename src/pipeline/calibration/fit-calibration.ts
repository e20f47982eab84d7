// How a calibrated job fits its GPU budget: tokens a batch, weights resident or streamed, the Hessians of a layer at once
// or in several passes, hidden states on the GPU, in host memory or in a file. The peak is known before the job begins; of
// the ways that fit, the one with the least work is taken.

import { makeBatches, type SequenceBatch } from "../../calibrate/batches.ts";
import type { WorkspacePlan } from "../../calibrate/forward/workspace.ts";
import { hessianBytes } from "../../calibrate/hessians.ts";
import { type HiddenDtype, hiddenBytesPerToken, type HiddenPlace } from "../../calibrate/hidden-states.ts";
import { DeviceLimitError } from "../../errors.ts";
import { formatBytes } from "../../formats/format-bytes.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { hasPlainRows } from "../../onload/layer-weights.ts";
import {
  type Batching,
  type CalibrationDemand,
  type CalibrationShape,
  batchHiddenBytes,
  collectedDriftBytes,
  collectPhase,
  type GpuLimits,
  jobBytes,
  onloadPhase,
  overlapBytes,
  quantizePhase,
  statisticsBytes,
} from "./calibration-memory.ts";
import { layerKey, renamed } from "./alike-layers.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import { fitRewritings } from "./fit-rewritings.ts";
import type { LayerSchedule } from "./layer-schedule.ts";
import { layerSeconds } from "./layer-seconds.ts";
import { HOST_BYTES, hostLayerBytes } from "./host-memory.ts";
import { planSettling } from "./plan-settling.ts";

const MIB = 1024 ** 2;
const TOKEN_STEPS = [32_768, 16_384, 8192, 4096, 2048, 1024, 512, 256, 128] as const;
const MLP_STEPS = [16_384, 4096, 2048, 1024, 512, 256, 128, 64] as const;
const STREAM_STEPS = [256 * MIB, 64 * MIB, 16 * MIB, 4 * MIB, MIB] as const;
const RING_PIECES = 2;
const MAX_PIECE_BYTES = 16 * MIB;
const MIN_PIECE_BYTES = 64 * 1024;
/** Hidden states up to this size wait in host memory; more go to a file. */
const MAX_HOST_BYTES = 6 * 1024 ** 3;

export interface CalibrationPlan {
  readonly shape: CalibrationShape;
  readonly batches: readonly SequenceBatch[];
  readonly workspace: WorkspacePlan;
  readonly layers: readonly LayerSchedule[];
  readonly hidden: HiddenPlan;
  readonly peakBytes: number;
  /** Bytes of one generation of a stream's hidden states. */
  readonly hiddenBytes: number;
}

export interface HiddenPlan {
  readonly size: number;
  readonly dtype: HiddenDtype;
  readonly place: HiddenPlace;
  /** 2 where those of the original model wait beside those that the job goes by. */
  readonly streams: 1 | 2;
  /** Batches on the GPU at once: with two, one is computed while the next is brought and the last is taken away. */
  readonly atWork: 1 | 2;
}

interface Candidate {
  readonly plan: CalibrationPlan;
  readonly seconds: number;
}

/**
 * Plans a calibrated job.
 * @throws DeviceLimitError if nothing fits, saying what takes the most and what would help.
 */
export function planCalibration(demand: CalibrationDemand, limits: GpuLimits): CalibrationPlan {
  const best =
    (demand.like && leastWork(demand, shapes(demand, limits, demand.like), limits)) ??
    leastWork(demand, shapes(demand, limits), limits);
  if (best) return best;
  const longest = Math.max(...demand.lengths);
  const largest = Math.max(
    ...demand.layers.flatMap(({ captures }) => captures.map(({ columns }) => columns)),
  );
  const hessian = hessianBytes([{ modules: [], columns: largest }], limits.maxBufferBytes);
  throw new DeviceLimitError(
    `The GPU budget of ${formatBytes(limits.budgetBytes)} is too small to calibrate this model: the largest Hessian alone (${largest} inputs) takes ${formatBytes(hessian)}, and the samples are up to ${longest} tokens long. Choose a larger budget, a smaller max_seq_length, or a data-free recipe.`,
  );
}

function leastWork(
  demand: CalibrationDemand,
  ways: Iterable<CalibrationShape>,
  limits: GpuLimits,
): CalibrationPlan | null {
  let best: Candidate | null = null;
  for (const shape of ways) {
    const candidate = fit(demand, shape, limits);
    if (candidate && (!best || candidate.seconds < best.seconds)) best = candidate;
  }
  return best && best.plan;
}

/** All ways worth trying, of those with the batching that is asked for; there are a few hundred. */
function* shapes(
  demand: CalibrationDemand,
  limits: GpuLimits,
  like: Batching | null = null,
): Generator<CalibrationShape> {
  const longest = Math.max(...demand.lengths);
  const total = demand.lengths.reduce((sum, length) => sum + length, 0);
  const bounded = TOKEN_STEPS.map((tokens) => Math.min(Math.max(tokens, longest), Math.max(total, longest)));
  const most = demand.maxTokens ?? Infinity;
  const tokenSteps = new Set(like ? [like.maxTokens] : bounded.map((tokens) => Math.min(tokens, most)));
  const pieceBytes = 2 ** Math.floor(Math.log2(limits.budgetBytes / 64));
  const ring = {
    pieceBytes: Math.min(Math.max(pieceBytes, MIN_PIECE_BYTES), MAX_PIECE_BYTES),
    pieces: RING_PIECES,
  };
  for (const maxTokens of tokenSteps) {
    const mlpSteps = like ? [like.mlpTokens] : MLP_STEPS.map((step) => Math.min(step, maxTokens));
    for (const mlpTokens of new Set(mlpSteps)) {
      for (const tileBytes of STREAM_STEPS) yield { maxTokens, mlpTokens, tileBytes, ring };
    }
  }
}

function fit(demand: CalibrationDemand, shape: CalibrationShape, limits: GpuLimits): Candidate | null {
  const { layers, lengths, hidden } = demand;
  const batches = makeBatches(lengths, shape.maxTokens);
  const job = tryJobBytes(demand, batches, shape, limits);
  if (!job) return null;
  const free = limits.budgetBytes - job.bytes;
  const batchTokens = Math.max(...batches.map((batch) => batch.tokens));
  let layerPeak = 0;
  let seconds = 0;
  const known = new Map<string, { readonly like: CalibratedLayer; readonly found: FittedLayer | null }>();
  const fitted: FittedLayer[] = [];
  for (const layer of layers) {
    const key = layerKey(layer);
    const { like, found } = known.get(key) ?? {
      like: layer,
      found: fitLayer(layer, lengths, batches, shape, { ...limits, budgetBytes: free, batchTokens }),
    };
    known.set(key, { like, found });
    if (!found) return null;
    fitted.push({ ...found, passes: renamed(found.passes, like, layer) });
    layerPeak = Math.max(layerPeak, found.peak);
    seconds += found.seconds;
  }
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const hiddenBytes = tokens * hiddenBytesPerToken({ hiddenSize: hidden.size, dtype: hidden.dtype });
  const waiting = hidden.streams * hiddenBytes;
  const onHost = Math.max(0, ...Array.from(known.values(), ({ like }) => hostLayerBytes(like)));
  const place = placeOf(waiting, free - layerPeak, onHost);
  const residentHidden = place === "gpu" ? waiting : 0;
  // Only what nothing else has a use for goes into overlap.
  const planned = fitted.map(({ passes, overlapPeak, settlingPeak }): LayerSchedule => {
    const overlap = overlapPeak !== null && overlapPeak <= free - residentHidden;
    const settles = !overlap && settlingPeak <= free - residentHidden;
    layerPeak = Math.max(layerPeak, overlap ? overlapPeak : 0, settles ? settlingPeak : 0);
    return { ...passes, overlap, settling: settles ? passes.settling : null };
  });
  const peakBytes = job.bytes + layerPeak + residentHidden;
  const secondBytes = bufferBytes(batchHiddenBytes(batches, hidden.size));
  // Narrowed states go through one packed buffer, and those on the GPU need no time to come.
  const isWorthTwo = place !== "gpu" && hidden.dtype === "F32" && batches.length > 1;
  const atWork = isWorthTwo && peakBytes + secondBytes <= limits.budgetBytes ? 2 : 1;
  const plan: CalibrationPlan = {
    shape,
    batches,
    workspace: job.workspace,
    layers: planned,
    hidden: { ...hidden, place, atWork },
    peakBytes: peakBytes + (atWork - 1) * secondBytes,
    hiddenBytes,
  };
  return { plan, seconds };
}

function tryJobBytes(
  demand: CalibrationDemand,
  batches: readonly SequenceBatch[],
  shape: CalibrationShape,
  limits: GpuLimits,
) {
  try {
    return jobBytes(demand, batches, shape, limits);
  } catch (error) {
    // A batch that no buffer of this GPU holds: a smaller one is among the other shapes.
    if (error instanceof DeviceLimitError) return null;
    throw error;
  }
}

interface FittedLayer {
  readonly passes: LayerSchedule;
  readonly peak: number;
  /** The peak with overlap; null if the layer cannot have it. */
  readonly overlapPeak: number | null;
  /** The same with weights that settle on the GPU as they are quantized; infinite if none would. */
  readonly settlingPeak: number;
  readonly seconds: number;
}

/** How a layer fits into the free bytes; null if it does not. */
function fitLayer(
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
  const phases = passes.map((pass) => collectPhase(layer, pass, shape.tileBytes, free));
  phases.push(onloadPhase(layer, layer.linears, shape.tileBytes, free.budgetBytes, free));
  const tileRows = new Map<string, number>();
  let peak = rewriting.bytes;
  let settled: ReturnType<typeof planSettling> = null;
  for (const pass of passes) {
    const quantize = quantizePhase(layer, pass, free.budgetBytes, free);
    if (!quantize) return null;
    peak = Math.max(peak, quantize.bytes);
    if (passes.length === 1) settled = planSettling(layer, pass, quantize, shape.ring, free);
    for (const [module, rows] of quantize.tileRows) tileRows.set(module, rows);
  }
  const onloads = phases.filter((phase) => phase !== null);
  const propagate = onloads.at(-1);
  if (!propagate || onloads.length < phases.length) return null;
  const residency = {
    calibrate: onloads.slice(0, -1).map((onload) => onload.residency),
    propagate: propagate.residency,
  };
  onloads.push(...rewriting.onloads);
  const resident = onloads.every(({ streamed }) => streamed === 0);
  const rewrites = rewriting.passes;
  const fitted = {
    passes,
    rewrites,
    tileRows,
    residency,
    resident,
    overlap: false,
    settling: settled?.turns ?? null,
  };
  return {
    passes: fitted,
    peak: Math.max(peak, ...onloads.map(({ bytes }) => bytes)),
    overlapPeak: overlapPeakOf(layer, fitted, propagate.bytes, free),
    settlingPeak: settled && propagate.streamed === 0 ? settled.peak : Infinity,
    seconds: layerSeconds(layer, lengths, batches, shape, onloads),
  };
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

/** Captures in as few passes as the free bytes allow, in the order in which the forward pass meets them. */
function packPasses(layer: CalibratedLayer, shape: CalibrationShape, free: GpuLimits): Capture[][] {
  const passes: Capture[][] = [];
  for (const capture of layer.captures) {
    const grown = [...(passes.at(-1) ?? []), capture];
    const fits =
      passes.length > 0 &&
      collectPhase(layer, grown, shape.tileBytes, free) !== null &&
      quantizePhase(layer, grown, free.budgetBytes, free) !== null;
    if (fits) passes[passes.length - 1] = grown;
    else passes.push([capture]);
  }
  return passes;
}

function placeOf(hiddenBytes: number, spareBytes: number, layerBytes: number): HiddenPlace {
  if (hiddenBytes <= spareBytes) return "gpu";
  return hiddenBytes <= Math.min(MAX_HOST_BYTES, HOST_BYTES - layerBytes) ? "host" : "file";
}
