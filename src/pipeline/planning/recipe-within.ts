// From what a survey measured to a recipe of a wanted size, planned to the byte.

import type { JobOptions } from "../../api/job-options.ts";
import type { MixedRecipe } from "../../api/scheme-survey.ts";
import { CalibrationError, RecipeError } from "../../errors.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { bitsPerWeight } from "../../plan/checkpoint/bits-per-weight.ts";
import { planJob } from "./plan-job.ts";
import { type MeasuredSchemes, recipeOfSize, resultBytes } from "./plan-survey.ts";

/** @throws CalibrationError or RecipeError if nothing can be measured */
export function surveyOptions(options: JobOptions): JobOptions {
  const { calibration, beside = [], ...plain } = options;
  if (!calibration)
    throw new CalibrationError(
      "What a scheme loses is measured on a text: choose a file, a data set, or the model's own text.",
    );
  if (beside.length === 0)
    throw new RecipeError(
      "There is nothing to choose from: name two recipes at least, such as gptq-W4A16 and gptq-W8A16.",
    );
  return { ...plain, beside, calibration: { ...calibration, propagate_error: false } };
}

/**
 * A recipe whose weights take at most `bytes`.
 * @throws RecipeError if there is none, with the least and the greatest size
 */
export async function recipeWithin(
  model: OpenModel,
  options: JobOptions,
  measured: MeasuredSchemes,
  bytes: number,
): Promise<MixedRecipe> {
  // Headers name other tensors for other schemes; each try makes room for what the last one took too much.
  for (let slack = 0; ;) {
    const { yaml, loss, counts } = recipeOfSize(measured, bytes, slack);
    const plan = await planJob(model, { ...options, recipe: { kind: "yaml", text: yaml } });
    const planned = resultBytes(plan);
    if (planned <= bytes)
      return { yaml, loss, counts, resultBytes: planned, bitsPerWeight: bitsPerWeight(plan.counted) };
    slack += planned - bytes;
  }
}
