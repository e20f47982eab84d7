// A planned job cut down to one of its parts. What a part writes is what the whole job would write of it: the plan of the
// whole job, its samples, batches and tiles stay as they are, and only steps are left out.

import type { PartCosts } from "../../api/compressor-api.ts";
import type { JobPart } from "../../api/job-options.ts";
import { RecipeError } from "../../errors.ts";
import { decoderLayers } from "../../plan/decoder-layers.ts";
import { planOutput } from "../../plan/plan-output.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import { digest } from "./plan-job.ts";
import type { PlannedStep } from "./planned-step.ts";
import { sumOfPhases } from "./plan-time.ts";

/**
 * The part of a planned job that is asked for; all of it if none is.
 * @throws RecipeError if the model has no such layers, or the recipe's layers depend on those before them
 */
export async function takePart(plan: CompressionPlan, part: JobPart | undefined): Promise<CompressionPlan> {
  if (!part) return plan;
  const layers = decoderLayers(plan.steps);
  checkPart(plan, part, layers);
  const own = new Set(part.kind === "layers" ? layers.slice(part.first, part.last + 1) : layers);
  const taken = plan.steps.filter(({ name }) => own.has(name) === (part.kind === "layers"));
  return {
    ...plan,
    jobId: await digest([plan.jobId, part]),
    steps: taken.map((step, index): PlannedStep => ({ ...step, index })),
    output: planOutput({ steps: taken }, { stem: "part" }),
    sourceBytes: taken.reduce((sum, { bytes }) => sum + bytes, 0),
    part: {
      asked: part,
      jobId: plan.jobId,
      steps: plan.steps.length,
      layers: layers.length,
      places: taken.map(({ index }) => index),
    },
  };
}

function checkPart({ calibration }: CompressionPlan, part: JobPart, layers: readonly string[]): void {
  if (layers.length === 0)
    throw new RecipeError(
      "This model has no numbered layers that it could be cut between. Compress it as a whole.",
    );
  if (part.kind !== "layers") return;
  if (part.first > part.last || part.last >= layers.length)
    throw new RecipeError(
      `The model has the layers 0 to ${layers.length - 1}; ${part.first}..${part.last} is no range of them.`,
    );
  if (calibration && (part.first > 0 || part.last < layers.length - 1))
    throw new RecipeError(
      "This recipe calibrates: what a layer sees comes out of the layers before it, so that a range of layers cannot be done by itself. Compress the whole model in one job.",
    );
}

/** What each layer of a planned job costs, and what belongs to none. */
export function partCosts({ steps }: Pick<CompressionPlan, "steps">): PartCosts {
  const names = new Set(decoderLayers(steps));
  const layers = steps
    .filter(({ name }) => names.has(name))
    .map(({ name, bytes, calibrated }) => ({
      name,
      bytes,
      operations: calibrated ? sumOfPhases(calibrated.work) : 0,
    }));
  const rest = steps.filter(({ name }) => !names.has(name));
  return { layers, restBytes: rest.reduce((sum, { bytes }) => sum + bytes, 0) };
}
