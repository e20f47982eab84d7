// How a calibrated job fits its GPU budget: tokens a batch, weights resident or streamed, the Hessians of a layer at once
// or in several passes, hidden states on the GPU, in host memory or in a file. The peak is known before the job begins; of
// the ways that fit, the one with the least work is taken.

import { makeBatches, type SequenceBatch } from "../../calibrate/batches.ts";
import type { WorkspacePlan } from "../../calibrate/forward/workspace.ts";
import { hessianBytes } from "../../calibrate/hessians.ts";
import { type HiddenDtype, hiddenBytesPerToken, type HiddenPlace } from "../../calibrate/hidden-states.ts";
import { DeviceLimitError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import type { RingSize } from "../../gpu/staging/ring-pieces.ts";
import {
  type Batching,
  type CalibrationDemand,
  type CalibrationShape,
  batchHiddenBytes,
  type GpuLimits,
  jobBytes,
} from "./calibration-memory.ts";
import { firstAlike, renamed } from "./alike-layers.ts";
import { deepRings, findRoom, isScheduledAlike } from "./batches-at-work.ts";
import { type FittedLayer, fitLayer } from "./fit-layer.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import type { RewritePass } from "./fit-rewritings.ts";
import type { BatchesAtWork, LayerSchedule } from "./layer-schedule.ts";
import type { PlannedStrassen } from "./planned-strassen.ts";
import { type LayerPlace, planPlaces } from "./host-memory.ts";
import { growthOf, oneByOne, type PeakGrowth } from "./rest-of-room.ts";

const MIB = 1024 ** 2;
const TOKEN_STEPS = [32_768, 16_384, 8192, 4096, 2048, 1024, 512, 256, 128] as const;
const MLP_STEPS = [16_384, 4096, 2048, 1024, 512, 256, 128, 64] as const;
const STREAM_STEPS = [256 * MIB, 64 * MIB, 16 * MIB, 4 * MIB, MIB] as const;
const RING_PIECES = 2;
const MAX_PIECE_BYTES = 16 * MIB;
const MIN_PIECE_BYTES = 64 * 1024;

export interface CalibrationPlan {
  readonly shape: CalibrationShape;
  readonly batches: readonly SequenceBatch[];
  readonly workspace: WorkspacePlan;
  readonly layers: readonly LayerSchedule[];
  readonly hidden: HiddenPlan;
  readonly peakBytes: number;
  /** Bytes of one generation of a stream's hidden states. */
  readonly hiddenBytes: number;
  readonly layerPlace: LayerPlace;
  /** Where there is room for products by Strassen's algorithm, counted in the peak; null where there is none. */
  readonly strassen: PlannedStrassen | null;
  /** What is taken while samples are propagated; infinite if weights are streamed then. */
  readonly propagatingBytes: number;
  /** True if a layer is quantized while samples run through the next one. */
  readonly sideBySide: boolean;
  /** True if a layer's weights come to the GPU while samples run through the one before. */
  readonly bringsAhead: boolean;
  /** What some of the next layer's weights may take while samples are propagated; 0 where they do not come then. */
  readonly earlyBytes: number;
  readonly grows: PeakGrowth;
}

export interface HiddenPlan {
  readonly size: number;
  readonly dtype: HiddenDtype;
  readonly place: HiddenPlace;
  /** 2 where those of the original model wait beside those that the job goes by. */
  readonly streams: 1 | 2;
  /** Batches on the GPU at once wherever samples run through a layer; see `LayerSchedule.atWork`. */
  readonly atWork: BatchesAtWork;
}

/** What is given what nothing else has a use for, once a plan is found. */
const NOT_YET = { strassen: null, sideBySide: false, bringsAhead: false, earlyBytes: 0 } as const;

/** What is to be done, with the first layer of its shape for each layer: what fits one fits the others. */
interface AlikeDemand extends CalibrationDemand {
  readonly alike: readonly CalibratedLayer[];
}

/** A way of doing it; the schedules of its layers are those of the first ones of their shapes. */
interface Candidate {
  readonly plan: CalibrationPlan;
  readonly seconds: number;
}

/**
 * Plans a calibrated job.
 * @throws DeviceLimitError if nothing fits, saying what takes the most and what would help.
 */
export function planCalibration(asked: CalibrationDemand, limits: GpuLimits): CalibrationPlan {
  const demand = { ...asked, alike: firstAlike(asked.layers) };
  const best =
    (demand.like && leastWork(demand, shapes(demand, limits, demand.like), limits)) ??
    leastWork(demand, shapes(demand, limits), limits);
  if (best) return { ...best, layers: renamedAll(demand, best.layers) };
  const longest = Math.max(...demand.lengths);
  const largest = Math.max(
    ...demand.layers.flatMap(({ captures }) => captures.map(({ columns }) => columns)),
  );
  const hessian = hessianBytes([{ modules: [], columns: largest }], limits.maxBufferBytes);
  throw new DeviceLimitError(
    `The GPU budget of ${formatBytes(limits.budgetBytes)} is too small to calibrate this model: the largest Hessian alone (${largest} inputs) takes ${formatBytes(hessian)}, and the samples are up to ${longest} tokens long. Choose a larger budget, a smaller max_seq_length, or a data-free recipe.`,
  );
}

/** What was planned for the first layer of each shape, for all of them. */
function renamedAll({ layers, alike }: AlikeDemand, schedules: readonly LayerSchedule[]): LayerSchedule[] {
  return schedules.map((schedule, index) => {
    const [from, to] = [alike[index], layers[index]];
    return from && to ? renamed(schedule, from, to) : schedule;
  });
}

function leastWork(
  demand: AlikeDemand,
  ways: Iterable<CalibrationShape>,
  limits: GpuLimits,
): CalibrationPlan | null {
  let best: Candidate | null = null;
  let whole: Candidate | null = null;
  for (const shape of ways) {
    if (whole && isBatchedAlike(whole.plan.shape, shape)) continue;
    const candidate = fit(demand, shape, limits);
    if (candidate && (!best || candidate.seconds < best.seconds)) best = candidate;
    if (candidate && candidate.plan.layers.every(isWhole)) whole = candidate;
  }
  return best && (withDeepRings(demand, best, limits) ?? best).plan;
}

function isBatchedAlike(one: Batching, other: Batching): boolean {
  return one.maxTokens === other.maxTokens && one.mlpTokens === other.mlpTokens;
}

/** True if smaller tiles would change nothing: none are streamed, and no pass less is possible. */
function isWhole({ resident, passes, rewrites }: LayerSchedule): boolean {
  return resident && passes.length <= 1 && rewrites.every((own) => collecting(own).length <= 1);
}

function collecting(passes: readonly RewritePass[]): RewritePass[] {
  return passes.filter(({ runsBlocks }) => !runsBlocks);
}

/** The same with the deepest rings that cost nothing else its room. */
function withDeepRings(
  demand: AlikeDemand,
  { plan, seconds }: Candidate,
  limits: GpuLimits,
): Candidate | null {
  if (plan.hidden.place === "gpu") return null;
  for (const rings of deepRings(plan.shape)) {
    const deep = fit(demand, { ...plan.shape, ...rings }, limits);
    if (deep && deep.seconds <= seconds && isScheduledAlike(deep.plan, plan)) return deep;
  }
  return null;
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
  for (const maxTokens of tokenSteps) {
    const mlpSteps = like ? [like.mlpTokens] : MLP_STEPS.map((step) => Math.min(step, maxTokens));
    for (const mlpTokens of new Set(mlpSteps)) {
      for (const tileBytes of STREAM_STEPS) {
        const ring = ringFor(tileBytes, limits);
        yield { maxTokens, mlpTokens, tileBytes, ring, readbackRing: ring };
      }
    }
  }
}

/** Pieces that hold no more than a tile: browsers copy a whole piece, used or not. */
function ringFor(tileBytes: number, { budgetBytes }: GpuLimits): RingSize {
  const pieceBytes = 2 ** Math.floor(Math.log2(budgetBytes / 64));
  return {
    pieceBytes: Math.min(Math.max(pieceBytes, MIN_PIECE_BYTES), MAX_PIECE_BYTES, tileBytes),
    pieces: RING_PIECES,
  };
}

function fit(demand: AlikeDemand, shape: CalibrationShape, limits: GpuLimits): Candidate | null {
  const { alike, lengths, hidden } = demand;
  const batches = makeBatches(lengths, shape.maxTokens);
  const job = tryJobBytes(demand, batches, shape, limits);
  if (!job) return null;
  const free = limits.budgetBytes - job.bytes;
  const batchTokens = Math.max(...batches.map((batch) => batch.tokens));
  let layerPeak = 0;
  let seconds = 0;
  const known = new Map<CalibratedLayer, FittedLayer>();
  const fitted: FittedLayer[] = [];
  for (const layer of alike) {
    const found =
      known.get(layer) ??
      fitLayer(layer, { lengths, batches }, shape, { ...limits, budgetBytes: free, batchTokens });
    if (!found) return null;
    known.set(layer, found);
    fitted.push(found);
    layerPeak = Math.max(layerPeak, found.peak);
    seconds += found.seconds;
  }
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const hiddenBytes = tokens * hiddenBytesPerToken({ hiddenSize: hidden.size, dtype: hidden.dtype });
  const waiting = hidden.streams * hiddenBytes;
  const scheduled = Array.from(known, ([layer, { passes }]) => ({ layer, schedule: passes }));
  const { place, layerPlace } = planPlaces(scheduled, waiting, free - layerPeak, limits);
  const residentHidden = place === "gpu" ? waiting : 0;
  const secondBytes = bufferBytes(batchHiddenBytes(batches, hidden.size));
  // Narrowed states go through one packed buffer, and those on the GPU need no time to come.
  const isWorthTwo = place !== "gpu" && hidden.dtype === "F32" && batches.length > 1;
  const used = useRoom(fitted, layerPeak, {
    bytes: free - residentHidden,
    secondBytes: isWorthTwo ? secondBytes : Infinity,
  });
  const plan: CalibrationPlan = {
    shape,
    batches,
    workspace: job.workspace,
    layers: used.layers,
    hidden: { ...hidden, place, atWork: used.atWork },
    peakBytes: job.bytes + used.peak + residentHidden,
    hiddenBytes,
    layerPlace,
    propagatingBytes: job.bytes + residentHidden + propagatingBytes(fitted, used, secondBytes),
    ...NOT_YET,
    grows: place === "file" || !holdsThree(layerPlace) ? oneByOne(used.grows) : used.grows,
  };
  return { plan, seconds };
}

/** Gives what nothing else has a use for to weights that stay, and to a second batch at work. */
function useRoom(
  fitted: readonly FittedLayer[],
  least: number,
  room: { readonly bytes: number; readonly secondBytes: number },
): {
  readonly layers: LayerSchedule[];
  readonly atWork: BatchesAtWork;
  readonly grows: PeakGrowth;
  readonly peak: number;
} {
  let peak = least;
  const layers = fitted.map((layer): LayerSchedule => {
    const { passes, overlapPeak, settled } = layer;
    const overlap = overlapPeak !== null && overlapPeak <= room.bytes;
    const settles = !overlap && settled !== null && settled.peak <= room.bytes;
    peak = Math.max(peak, overlap ? overlapPeak : 0, settles ? settled.peak : 0);
    const staysRewriting = Number.isFinite(layer.stayingPeak);
    return { ...passes, overlap, staysRewriting, settling: settles ? settled.schedule : null };
  });
  const beside = room.bytes - room.secondBytes;
  const grows = growthOf(fitted, peak, layers);
  if (peak <= beside) return { layers, atWork: 2, grows, peak: peak + room.secondBytes };
  const own = layers.map((schedule, index) => {
    const held = fitted[index]?.held;
    // Weights that stay are counted with what is quantized beside them.
    if (schedule.overlap || !held) return schedule;
    const found = findRoom(held, beside);
    if (found.peak > 0) peak = Math.max(peak, found.peak + room.secondBytes);
    return { ...schedule, atWork: found.atWork };
  });
  return { layers: own, atWork: 1, grows, peak };
}

/** What layers hold while samples are propagated, and the second batch that is at work then. */
function propagatingBytes(
  fitted: readonly FittedLayer[],
  { layers, atWork }: Pick<ReturnType<typeof useRoom>, "layers" | "atWork">,
  secondBytes: number,
): number {
  const held = fitted.map(({ held: own, propagatesWhole }) => (propagatesWhole ? own.propagate : Infinity));
  const isTwo = Math.max(atWork, ...layers.map((layer) => layer.atWork.propagate)) > 1;
  return Math.max(...held) + (isTwo ? secondBytes : 0);
}

/** The layer at work, the one before it, and the one that is read ahead. */
function holdsThree({ layerBytes, memoryBytes, fileBytes }: LayerPlace): boolean {
  return fileBytes === 0 && 3 * layerBytes <= memoryBytes;
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
