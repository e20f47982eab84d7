// Whether Strassen's products have room in a planned job, which then has it for them from its first layer to its last. Results depend
// on it, so that the plan decides and no run: only where all weights are resident are they whole in each pass, and only what
// nothing else has a use for is given.

import { DeviceLimitError } from "../../errors.ts";
import { formatBytes } from "../../formats/format-bytes.ts";
import type { ForwardProducts } from "../../formats/forward-products.ts";
import { isForStrassen, type ProductSize, strassenRequests } from "../../gpu/matmul/strassen-size.ts";
import { strassenTuningBytes } from "../../gpu/matmul/tune-matmul.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import type { CalibratedLayer } from "./calibrated-layer.ts";
import type { GpuLimits } from "./calibration-memory.ts";
import type { CalibrationPlan } from "./fit-calibration.ts";

/** A job as it is planned without them. */
interface PlainJob {
  readonly plan: Pick<CalibrationPlan, "batches" | "layers" | "shape">;
  readonly layers: readonly Pick<CalibratedLayer, "linears">[];
  readonly peakBytes: number;
}

/** What Strassen's products take of a job. */
export interface StrassenRoom {
  /** What holds all products that gain by them. */
  readonly largest: ProductSize;
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
  if (wanted === "AUTO") return null;
  throw new DeviceLimitError(`F32_STRASSEN cannot be had: ${found} Or leave forward products at AUTO.`);
}

/** The room, or why there is none. */
function roomOf(
  { plan, layers, peakBytes }: PlainJob,
  { budgetBytes, maxBufferBytes }: GpuLimits,
): StrassenRoom | string {
  const largest = largestProduct(plan, layers);
  if (!largest)
    return `no product of this model is so large, in batches of ${plan.shape.maxTokens} tokens, that it would gain by them. Choose F32.`;
  const sizes = strassenRequests(largest).map((request) => bufferBytes(request.bytes));
  const widest = Math.max(...sizes);
  if (widest > maxBufferBytes)
    return `they need buffers of ${formatBytes(widest)}, and this GPU binds ${formatBytes(maxBufferBytes)} at once. Choose F32.`;
  if (!plan.layers.every(({ resident }) => resident))
    return `the GPU budget of ${formatBytes(budgetBytes)} does not hold a layer's weights at once. Choose a larger one.`;
  const scratch = sizes.reduce((sum, each) => sum + each, 0);
  // What is measured is measured before anything else is there.
  const bytes = Math.max(scratch, strassenTuningBytes() - peakBytes);
  if (peakBytes + bytes <= budgetBytes) return { largest, bytes };
  return `they take ${formatBytes(scratch)} beside the ${formatBytes(peakBytes)} of the job, and the GPU budget is ${formatBytes(budgetBytes)}. A budget of ${formatBytes(peakBytes + bytes)} would do.`;
}

/** What holds all products that gain; null if none does. */
function largestProduct({ batches }: PlainJob["plan"], layers: PlainJob["layers"]): ProductSize | null {
  const m = Math.max(...batches.map(({ tokens }) => tokens));
  const sizes = layers
    .flatMap(({ linears }) => linears.map(({ rows: n, columns: k }) => ({ m, n, k })))
    .filter(isForStrassen);
  if (sizes.length === 0) return null;
  return { m, n: Math.max(...sizes.map(({ n }) => n)), k: Math.max(...sizes.map(({ k }) => k)) };
}
