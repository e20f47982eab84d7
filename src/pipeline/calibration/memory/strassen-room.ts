// Whether Strassen's products have room in a planned job: from its first layer to its last or, where Hessians leave none, while samples
// are propagated. Results depend on it, so that the plan decides and no run: only where weights are resident are they whole in each
// pass, and only what nothing else has a use for is given.

import { DeviceLimitError } from "../../../errors.ts";
import { mostTokens } from "../../../calibrate/batches.ts";
import { formatBytes } from "../../../formats/text/format-bytes.ts";
import type { ForwardProducts } from "../../../formats/recipe/forward-products.ts";
import {
  isForStrassen,
  leastStrassen,
  type ProductSize,
  strassenRequests,
  type StrassenSize,
  strassenSizes,
} from "../../../gpu/matmul/strassen/strassen-size.ts";
import { strassenTuningBytes } from "../../../gpu/matmul/strassen/tune-strassen.ts";
import { bufferBytes } from "../../../gpu/memory.ts";
import type { CalibratedLayer } from "../layers/calibrated-layer.ts";
import type { GpuLimits } from "../costs/calibration-memory.ts";
import type { CalibrationPlan, PlannedStrassen } from "../fit/calibration-plan.ts";
import { planWorkspace } from "../../../calibrate/forward/plan-workspace.ts";

/** A job as it is planned without them. */
interface PlainJob {
  readonly plan: Omit<CalibrationPlan, "strassen">;
  readonly layers: readonly Pick<CalibratedLayer, "linears" | "description" | "rewritings">[];
  /** What stands beside the plan. */
  readonly asideBytes: number;
}

/** What Strassen's products take of a job. */
export interface StrassenRoom {
  readonly place: PlannedStrassen;
  /** What the peak grows by. */
  readonly bytes: number;
}

/**
 * The room for Strassen's products, or null where they are not wanted or have none.
 * @throws DeviceLimitError if they are asked for by name and have none, saying why
 */
export function findStrassenRoom(
  job: PlainJob,
  wanted: ForwardProducts,
  limits: GpuLimits,
): StrassenRoom | null {
  // A job that has matrix units does without.
  if (wanted === "F32" || (wanted === "AUTO" && limits.hasMatrixUnits)) return null;
  const found = roomOf(job, limits);
  if (typeof found !== "string") return found;
  const propagating = roomToPropagate(job, limits);
  if (propagating || wanted === "AUTO") return propagating;
  throw new DeviceLimitError(`F32_STRASSEN cannot be had: ${found} Or leave forward products at AUTO.`);
}

/**
 * Room for them while samples are propagated, and not before, when Hessians are there. Only where no other run of the samples, of this
 * job or of a part of it, leads to the next layer: all of them would have to be alike.
 */
function roomToPropagate({ plan, layers, asideBytes }: PlainJob, limits: GpuLimits): StrassenRoom | null {
  const { workspace, hidden, propagatingBytes } = plan;
  const isAlone =
    hidden.streams === 1 &&
    plan.layers.every(({ leaves }) => !leaves) &&
    layers.every(({ rewritings }) => rewritings.length === 0);
  const largest = largestProduct(plan, layers);
  if (!isAlone || !largest || workspace.experts) return null;
  const { longest } = workspace.size;
  const descriptions = layers.map(({ description }) => description);
  const wide = planWorkspace(descriptions, {
    tokens: largest.m,
    longest,
    maxBufferBytes: limits.maxBufferBytes,
  });
  const gain = (m: number) => gaining(layers, largest.m).every((size) => isForStrassen({ ...size, m }));
  // Products of an MLP are of fewer tokens than others, and take the most time.
  if (!gain(wide.mlpTokens)) return null;
  const scratch = gain(workspace.mlpTokens) ? null : { bytes: wide.scratchBytes, mlpTokens: wide.mlpTokens };
  const peakBytes = plan.peakBytes + asideBytes;
  const beside = propagatingBytes + asideBytes + (scratch ? bufferBytes(scratch.bytes) : 0);
  const found = fittingSize(largest, { beside, peakBytes }, limits);
  return found && { place: { ...found.size, stays: false, scratch }, bytes: found.bytes };
}

/** What scratch stands beside when it is taken, and what is taken at the most without it. */
interface Beside {
  readonly beside: number;
  readonly peakBytes: number;
}

/** The first of the sizes of scratch that fits, and what the peak grows by; null if none does. */
function fittingSize(
  largest: ProductSize,
  room: Beside,
  { budgetBytes, maxBufferBytes }: GpuLimits,
): { readonly size: StrassenSize; readonly bytes: number } | null {
  for (const size of strassenSizes(largest)) {
    const { bytes: taken, widest } = bytesOf(size);
    const bytes = grownBy(taken, room);
    if (widest <= maxBufferBytes && room.peakBytes + bytes <= budgetBytes) return { size, bytes };
  }
  return null;
}

/** What is measured is measured before anything else is there. */
function grownBy(taken: number, { beside, peakBytes }: Beside): number {
  return Math.max(beside + taken, strassenTuningBytes(), peakBytes) - peakBytes;
}

/** What Strassen's products take while samples are propagated. */
export function lentBytes(place: PlannedStrassen | null): number {
  if (!place) return 0;
  return bytesOf(place).bytes + (place.scratch ? bufferBytes(place.scratch.bytes) : 0);
}

/** What scratch takes, and its largest buffer. */
function bytesOf(size: StrassenSize): { readonly bytes: number; readonly widest: number } {
  const sizes = strassenRequests(size).map((request) => bufferBytes(request.bytes));
  return { bytes: sizes.reduce((total, each) => total + each, 0), widest: Math.max(...sizes) };
}

/** The room from the first layer to the last, or why there is none. */
function roomOf({ plan, layers, asideBytes }: PlainJob, limits: GpuLimits): StrassenRoom | string {
  const { budgetBytes, maxBufferBytes } = limits;
  const largest = largestProduct(plan, layers);
  if (!largest)
    return `no product of this model is so large, in batches of ${mostTokens(plan.batches)} tokens, that it would gain by them. Choose F32.`;
  const least = bytesOf(leastStrassen(largest));
  if (least.widest > maxBufferBytes)
    return `they need buffers of ${formatBytes(least.widest)}, and this GPU binds ${formatBytes(maxBufferBytes)} at once. Choose F32.`;
  if (!plan.layers.every(({ resident }) => resident))
    return `the GPU budget of ${formatBytes(budgetBytes)} does not hold a layer's weights at once. Choose a larger one.`;
  const peakBytes = plan.peakBytes + asideBytes;
  const room = { beside: peakBytes, peakBytes };
  const found = fittingSize(largest, room, limits);
  if (found) return { place: { ...found.size, stays: true, scratch: null }, bytes: found.bytes };
  return `they take ${formatBytes(least.bytes)} beside the ${formatBytes(peakBytes)} of the job, and the GPU budget is ${formatBytes(budgetBytes)}. A budget of ${formatBytes(peakBytes + grownBy(least.bytes, room))} would do.`;
}

type Layers = readonly Pick<CalibratedLayer, "linears">[];

/** What holds all products that gain; null if none does. */
function largestProduct(plan: Pick<CalibrationPlan, "batches">, layers: Layers): ProductSize | null {
  const m = mostTokens(plan.batches);
  const sizes = gaining(layers, m);
  if (sizes.length === 0) return null;
  return { m, n: Math.max(...sizes.map(({ n }) => n)), k: Math.max(...sizes.map(({ k }) => k)) };
}

/** Products of so many tokens that gain. */
function gaining(layers: Layers, m: number): ProductSize[] {
  return layers
    .flatMap(({ linears }) => linears.map(({ rows: n, columns: k }) => ({ m, n, k })))
    .filter(isForStrassen);
}
