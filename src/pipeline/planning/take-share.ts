// A planned job cut down to what one of several does that compress the model together. Samples, and with them all sums over
// samples, are cut where the samples say, not where the shares do, so that any number of shares ends with the same bytes.

import type { JobPart, JobShare } from "../../api/job-options.ts";
import type { SequenceBatch } from "../../calibrate/batches.ts";
import { CalibrationError, invariant, RecipeError } from "../../errors.ts";
import { rewritingModifiers } from "../../formats/recipe/recipe.ts";
import type { OutputPlan } from "../../formats/safetensors/shards.ts";
import { buildFacts } from "../../package/build-facts.ts";
import { quantizerFor } from "../../quantize/quantizers.ts";
import { chunkCount, MAX_CHUNKS } from "../calibration/samples/sample-chunks.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { digest } from "./plan-job.ts";
import type { PlannedStep } from "./planned-step.ts";
import { withBatches } from "./share-samples.ts";

/** Of jobs that write no result. */
export const NO_OUTPUT: OutputPlan = { shards: [], totalBytes: 0, totalParameters: 0 };

/**
 * The share of a planned job that is asked for. The first one does what belongs to no layer, and writes the result.
 * @throws RecipeError if the recipe wants more of the samples than Hessians; CalibrationError if they are too few
 */
export async function takeShare(
  plan: CompressionPlan,
  share: JobShare,
  part: JobPart | null,
): Promise<CompressionPlan> {
  const { calibration } = plan;
  if (part)
    throw new RecipeError(
      "A part of the layers is not shared: leave --share out, or --layers and --states-at.",
    );
  if (!calibration)
    throw new RecipeError(
      "The recipe needs no calibration: there are no samples to share. Divide it with --layers.",
    );
  checkShareable(plan);
  const chunks = batchesByChunk(calibration);
  const { index, of } = share;
  if (of > chunks.length)
    throw new CalibrationError(
      chunks.length === MAX_CHUNKS
        ? `Samples are cut into ${MAX_CHUNKS} shares at most, not ${of}: ask for fewer shares.`
        : `The samples are too few for ${of} shares, and make ${chunks.length} at most: ask for fewer shares, or calibrate with more samples.`,
    );
  const placeOf = (at: number) => Math.floor((at * chunks.length) / of);
  const own = chunks.slice(placeOf(index), placeOf(index + 1)).flat();
  const { calibration: shared, portion } = withBatches(calibration, own);
  const writes = index === 0;
  const steps = plan.steps
    .filter(({ calibrated }) => writes || calibrated)
    .map((step, at): PlannedStep => ({ ...step, index: at, calibrated: inShare(step, portion, of) }));
  const tokens = calibration.plan.batches.map((batch) => batch.tokens);
  return {
    ...plan,
    jobId: await digest([plan.jobId, index, of]),
    steps,
    calibration: shared,
    output: writes ? plan.output : NO_OUTPUT,
    sourceBytes: steps.reduce((sum, { bytes }) => sum + bytes, 0),
    share: {
      ...share,
      jobId: await digest([plan.jobId, tokens, of, buildFacts().commit]),
      chunks: Array.from({ length: of }, (_, at) => ({ first: placeOf(at), end: placeOf(at + 1) })),
    },
  };
}

/** The batches of each chunk, in order. */
function batchesByChunk({ plan, chunkAt }: CalibrationJob): SequenceBatch[][] {
  invariant(chunkAt, "jobs that share samples sum by chunks");
  const chunks: SequenceBatch[][] = [];
  for (const batch of plan.batches) (chunks[chunkAt[batch.first] ?? 0] ??= []).push(batch);
  return chunks;
}

function inShare({ calibrated }: PlannedStep, portion: number, of: number): PlannedStep["calibrated"] {
  if (!calibrated) return null;
  const { calibrating, quantizing, propagating } = calibrated.work;
  const work = {
    calibrating: calibrating * portion,
    quantizing: quantizing / of,
    propagating: propagating * portion,
  };
  return { ...calibrated, work };
}

/** Shares that the samples of a planned job can be cut into at most; 0 of one that does not share them. */
export function mostShares(plan: CompressionPlan): number {
  const { calibration } = plan;
  return calibration && unshared(plan) === null
    ? chunkCount(calibration.set.sequences.map(({ length }) => length))
    : 0;
}

interface Unshared {
  /** What the recipe does, in words. */
  readonly problem: string;
  /** True if its layers can be done apart. */
  readonly byLayers: boolean;
}

/** What a recipe does that keeps jobs from sharing its samples; null if nothing does. */
function unshared({ calibration, recipe }: CompressionPlan): Unshared | null {
  const layers = calibration?.layers ?? [];
  if (rewritingModifiers(recipe).length > 0)
    return { problem: "moves factors between the tensors of a layer (SmoothQuant, AWQ)", byLayers: false };
  if (layers.some(({ drifting }) => drifting !== null))
    return { problem: "makes up for the drift of inputs", byLayers: false };
  if (layers.some(({ scales }) => scales.length > 0))
    return { problem: "measures ranges of activations", byLayers: true };
  return layers.some(({ tasks }) => tasks.some((task) => quantizerFor(task).tiled))
    ? { problem: "rounds some of the layers' weights to nearest", byLayers: true }
    : null;
}

function checkShareable(plan: CompressionPlan): void {
  const found = unshared(plan);
  if (!found) return;
  const { problem, byLayers } = found;
  throw new RecipeError(
    `This recipe ${problem}, which jobs that share samples do not do yet: they do GPTQ alone. Compress the model in one job${byLayers ? ", or divide it with --layers" : ""}.`,
  );
}
