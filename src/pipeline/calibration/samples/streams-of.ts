// How many streams of samples run through the layers: the quantized model's, and the original's where something is learned of it.

import type { CalibrationOptions } from "../../../api/job-options.ts";
import { RecipeError } from "../../../errors.ts";
import type { RewritingModifier } from "../../../formats/recipe/recipe.ts";
import type { DecoderDescription } from "../../../model/decoder-description.ts";
import type { PlanStep } from "../../../plan/plan-steps.ts";
import { quantizerFor } from "../../../quantize/quantizers.ts";

/** What the original model's samples run through the layers for; without either there is one stream. */
export interface Streams {
  /** Inputs are compared with those of the original model. */
  readonly comparesOriginal: boolean;
  /**
   * Modifiers that move factors see the original model, as LLM Compressor's walk for each of them does. Without errors that
   * later layers see, the samples are those of the original model anyway.
   */
  readonly rewritesOriginal: boolean;
  /** Later layers see the error of earlier ones. */
  readonly leavesErrors: boolean;
}

/** @throws RecipeError if inputs are to be compared that do not drift, or whose rows are not those of the same tokens */
export function streamsOf(
  {
    steps,
    rewriting,
  }: { readonly steps: readonly PlanStep[]; readonly rewriting: readonly RewritingModifier[] },
  description: DecoderDescription,
  options: CalibrationOptions,
): Streams {
  const tasks = steps.flatMap(({ quantize }) => quantize);
  const comparesOriginal = tasks.some((task) => quantizerFor(task).statistics(task).includes("drift"));
  if (comparesOriginal) checkComparable(description, options);
  // What is rounded to nearest is propagated as it was.
  const leavesErrors = options.propagate_error && tasks.some((task) => !quantizerFor(task).tiled);
  return { comparesOriginal, rewritesOriginal: rewriting.length > 0 && leavesErrors, leavesErrors };
}

function checkComparable({ layers }: DecoderDescription, { propagate_error }: CalibrationOptions): void {
  if (!propagate_error)
    throw new RecipeError(
      "GPTQModifier's drift makes up for what the errors of earlier layers do to a layer's inputs, but here each layer is calibrated on the original model (propagate_error: false, --no-propagate-error; a size is chosen so, too): it would change nothing. Leave it out.",
    );
  if (layers.some(({ feedForward }) => feedForward?.kind === "experts"))
    throw new RecipeError(
      "GPTQModifier's drift compares inputs of the quantized model with those of the original token by token, which is not done for experts yet: the two may be routed apart. Leave drift out for this model.",
    );
}
