// What a recipe is refused with that would change nothing in a model.

import { RecipeError } from "../errors.ts";
import { isInTower, type PlainWeight, towerOf } from "./checkpoint/find-linears.ts";

export interface NothingFacts {
  readonly plain: readonly PlainWeight[];
  /** Names of the Linears, as files and loaders call them. */
  readonly linears: readonly string[];
}

/**
 * Why nothing is quantized. GPT-2 and its kin are made of Conv1D: targets of the class Linear do not mean them in any engine.
 * Weights in 8-bit floats have scales somewhere, which only a quantization_config tells of.
 */
export function nothingError({ plain, linears }: NothingFacts): RecipeError {
  const of = (reason: PlainWeight["reason"]) => plain.filter((weight) => weight.reason === reason);
  const named = (weights: readonly PlainWeight[]) => {
    const shown = weights.slice(0, 3).map(({ name }) => name);
    return `The recipe quantizes nothing in this model: ${weights.length} of its weights (${shown.join(", ")}, …)`;
  };
  const [turned, dtype] = [of("turned"), of("dtype")];
  if (turned.length > 0)
    return new RecipeError(
      `${named(turned)} lie with inputs before outputs, in modules of the class Conv1D, which are no Linears: no engine loads them quantized. Models of this type stay as they are.`,
    );
  if (dtype.length > 0)
    return new RecipeError(
      `${named(dtype)} are neither BF16, F16 nor F32, and no quantization_config says what they stand for. Take the model in one of these.`,
    );
  if (linears.length === 0)
    return new RecipeError(
      "The recipe quantizes nothing in this model: it has no Linears, which recipes mean.",
    );
  const tower = towerOf(linears[0] ?? "");
  if (tower !== null && linears.every(isInTower))
    return new RecipeError(
      `The recipe quantizes nothing in this model: its Linears are all in encoders of images or sound and what joins them (${tower}), which stay as they are unless the targets name them. Name them: targets: ["re:.*${tower}.*"].`,
    );
  return new RecipeError(
    "The recipe quantizes nothing in this model: no Linear weight matches its targets. Check targets and ignore.",
  );
}
