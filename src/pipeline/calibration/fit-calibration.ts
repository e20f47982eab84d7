// How a calibrated job fits its GPU budget: tokens a batch, weights resident or streamed, the Hessians of a layer at once
// or in several passes, hidden states on the GPU, in host memory or in a file. The peak is known before the job begins; of
// the ways that fit, the one with the least work is taken.

import { mostTokens, type SequenceBatch } from "../../calibrate/batches.ts";
import { hessianBytes } from "../../calibrate/hessians.ts";
import { hiddenBytesPerToken } from "../../calibrate/hidden-states.ts";
import { sampleCells, WHOLE_UNITS_TOKENS } from "../../calibrate/sample-batches.ts";
import { DeviceLimitError } from "../../errors.ts";
import { greatestOf } from "../../greatest-of.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import {
  type Batching,
  type CalibrationDemand,
  type CalibrationShape,
  batchHiddenBytes,
  type GpuLimits,
  jobBytes,
} from "./costs/calibration-memory.ts";
import { firstAlike, renamed } from "./fit/alike-layers.ts";
import { deepRings, isScheduledAlike } from "./fit/batches-at-work.ts";
import { type FittedLayer, fitLayer } from "./fit/fit-layer.ts";
import type { CalibratedLayer } from "./layers/calibrated-layer.ts";
import type { RewritePass } from "./fit/fit-rewritings.ts";
import type { LayerSchedule } from "./fit/layer-schedule.ts";
import { planPlaces } from "./memory/host-memory.ts";
import { oneByOne } from "./memory/rest-of-room.ts";
import { waitingSeconds } from "./fit/waiting-seconds.ts";
import { propagatingBytes, useRoom } from "./memory/use-room.ts";
import type { CalibrationPlan, LayerPlace } from "./fit/calibration-plan.ts";
import { shapesToTry } from "./fit/shapes-to-try.ts";
import { batchesOf } from "./samples/sample-chunks.ts";

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
    (demand.like && leastWork(demand, shapesToTry(demand, limits, demand.like), limits)) ??
    leastWork(demand, shapesToTry(demand, limits), limits);
  if (best) return { ...best, layers: renamedAll(demand, best.layers) };
  throw tooSmall(demand, limits);
}

/** What takes the most of a budget that nothing fits into, and what would help. */
function tooSmall({ layers, lengths }: CalibrationDemand, limits: GpuLimits): DeviceLimitError {
  const longest = greatestOf(lengths);
  const atWork = mostTokens(sampleCells(lengths));
  const inputs = layers.flatMap(({ captures }) => captures.map((capture) => capture.columns));
  const columns = greatestOf(inputs, 0);
  const hessian = hessianBytes([{ modules: [], columns }], limits.maxBufferBytes);
  const taking =
    columns > 0 ? `the largest Hessian alone (${columns} inputs) takes ${formatBytes(hessian)}, and ` : "";
  const helping =
    longest < atWork
      ? `fewer samples (less than ${WHOLE_UNITS_TOKENS} tokens in all)`
      : "a smaller max_seq_length";
  return new DeviceLimitError(
    `The GPU budget leaves ${formatBytes(limits.budgetBytes)} to the layers, which is too small to calibrate this model: ${taking}at least ${atWork} tokens are at work at a time. Choose a larger budget, ${helping}, or a data-free recipe.`,
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

function fit(demand: AlikeDemand, shape: CalibrationShape, limits: GpuLimits): Candidate | null {
  const { alike, lengths, hidden } = demand;
  const batches = batchesOf(lengths, { maxTokens: shape.maxTokens, byChunk: demand.maxTokens !== null });
  const job = tryJobBytes(demand, batches, shape, limits);
  if (!job) return null;
  const free = limits.budgetBytes - job.bytes;
  const batchTokens = mostTokens(batches);
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
  const waits = isWorthTwo ? waitingSeconds(used.layers, used.atWork, hiddenBytes, shape) : 0;
  return { plan, seconds: seconds + waits };
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
