// A job with everything that it needs: what planJob knows from the headers, and for recipes that calibrate, the samples and
// how they fit the GPU.

import type { CalibrationSet } from "../../calibrate/select-sequences.ts";
import { CalibrationError } from "../../errors.ts";
import { kvCacheScheme, needsCalibration, rewritingModifiers } from "../../formats/recipe/recipe.ts";
import type { AdapterSummary } from "../../gpu/device/adapter-summary.ts";
import { type CalibrationJob, planCalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { hostLimit } from "../calibration/memory/host-memory.ts";
import { CHUNK_SUMS } from "../calibration/samples/sample-chunks.ts";
import { calibratedStep } from "./planned-step.ts";
import { loadCalibration } from "../calibration/samples/load-sequences.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { digest, planJob } from "./plan-job.ts";
import type { RemoteSource } from "../inspect/remote-source.ts";
import type { CalibrationOptions, JobOptions } from "../../api/job-options.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { takePart } from "./take-part.ts";

export interface PlanServices {
  readonly source: RemoteSource;
  readonly adapter: AdapterSummary;
  /** Sets that were loaded before, so that a changed slider does not tokenize anew. */
  readonly sets: Map<string, Promise<CalibrationSet>>;
}

/**
 * Plans a job, samples included; the whole of it even where a part is asked for, so that nothing depends on the cut.
 * @throws what planJob and loading samples throw; CalibrationError if the recipe needs samples and none are named.
 */
export async function planCompression(
  model: OpenModel,
  options: JobOptions,
  services: PlanServices,
): Promise<CompressionPlan> {
  const plan = await planJob(model, options);
  if (!needsCalibration(plan.recipe)) {
    const peakGpuBytes = plan.tiling.peakBytes;
    const whole = { ...plan, calibration: null, peakGpuBytes, part: null, share: null, others: [] };
    return await takePart(whole, options);
  }
  if (!options.calibration) {
    throw new CalibrationError(
      "This recipe needs calibration text: choose a file, a data set, or the model's own text.",
    );
  }
  const set = await calibrationSet(model, options.calibration, services);
  const rewriting = rewritingModifiers(plan.recipe);
  const limits = {
    budgetBytes: options.gpuBudgetBytes,
    maxBufferBytes: services.adapter.maxBindingBytes,
    hasMatrixUnits: services.adapter.matrices !== null,
    ...hostLimit(options),
    ...(options.share && { sums: CHUNK_SUMS }),
    sideBySide: options.share !== undefined || rewriting.length > 0,
  };
  const quantized = {
    steps: plan.steps,
    cache: kvCacheScheme(plan.recipe),
    rewriting,
  };
  const calibration = planCalibrationJob(model, quantized, set, options.calibration, limits);
  const whole = {
    ...plan,
    steps: plan.steps.map((step) => calibratedStep(step, calibration)),
    jobId: await calibratedId(plan.jobId, calibration),
    calibration,
    peakGpuBytes: Math.max(plan.tiling.peakBytes, calibration.peakBytes),
    part: null,
    share: null,
    others: [],
  };
  return await takePart(whole, options);
}

/** What of a calibration makes a job another one, and its journal another one's. */
async function calibratedId(jobId: string, { layers, options, set }: CalibrationJob): Promise<string> {
  const { hidden_states_dtype, forward_products, propagate_error } = options;
  const experts = options.moe_calibrate_all_experts ? "all" : options.moe_min_tokens_per_expert;
  const ids = set.sequences.map((sequence) => [...sequence]);
  // Journals of jobs that had one stream of samples have no states for a second one.
  const streams = layers.some(({ rewritesOriginal }) => rewritesOriginal) ? [2] : [];
  // Those of jobs that rounded the head have no states behind the last layer.
  const head = layers.some(({ description }) => description.head) ? ["head"] : [];
  return await digest([
    jobId,
    hidden_states_dtype,
    forward_products,
    propagate_error,
    experts,
    ids,
    ...streams,
    ...head,
  ]);
}

async function calibrationSet(
  model: OpenModel,
  options: CalibrationOptions,
  { source, sets }: PlanServices,
): Promise<CalibrationSet> {
  const { source: from, ...selection } = options;
  const file =
    from.kind === "file" ? [from.file.name, from.file.size, from.file.lastModified, from.column] : from;
  const key = JSON.stringify([model.source.key, file, selection]);
  const known = sets.get(key);
  if (known) return await known;
  const loading = loadCalibration(source, model, options);
  sets.set(key, loading);
  loading.catch(() => sets.delete(key));
  return await loading;
}
