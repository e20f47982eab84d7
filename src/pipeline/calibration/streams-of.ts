// How many streams of samples run through the layers: the quantized model's, and the original's where inputs are compared.

import type { CalibrationOptions } from "../../api/job-options.ts";
import { RecipeError } from "../../errors.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import { quantizerFor } from "../../quantize/quantizers.ts";

/** @throws RecipeError if inputs are to be compared that do not drift, or whose rows are not those of the same tokens */
export function streamsOf(
  steps: readonly PlanStep[],
  { layers }: DecoderDescription,
  { propagate_error }: CalibrationOptions,
): 1 | 2 {
  const tasks = steps.flatMap(({ quantize }) => quantize);
  if (!tasks.some((task) => quantizerFor(task).statistics(task).includes("drift"))) return 1;
  if (!propagate_error)
    throw new RecipeError(
      "GPTQModifier's drift makes up for what the errors of earlier layers do to a layer's inputs, but here each layer is calibrated on the original model (propagate_error: false, --no-propagate-error; a size is chosen so, too): it would change nothing. Leave it out.",
    );
  if (layers.some(({ feedForward }) => feedForward?.kind === "experts"))
    throw new RecipeError(
      "GPTQModifier's drift compares inputs of the quantized model with those of the original token by token, which is not done for experts yet: the two may be routed apart. Leave drift out for this model.",
    );
  return 2;
}
