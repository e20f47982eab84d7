import type { ModelSummary } from "../pipeline/api.ts";
import { DEFAULT_SCHEME } from "./presets.ts";
import { UNQUANTIZED } from "./read-scheme.ts";
import type { RecipeFields } from "./recipe-fields.ts";

/**
 * Moves the choice of preset where the one that stands makes little sense: what compressed-tensors wrote is written back as
 * plain weights unless the user asks for more, and plain weights cannot be.
 */
export function suggestRecipe({ scheme }: RecipeFields, { quantization }: ModelSummary): void {
  const canDequantize = (quantization?.modules.length ?? 0) > 0;
  const isResult = canDequantize && quantization?.method === "compressed-tensors";
  if (isResult && scheme.peek() === DEFAULT_SCHEME) scheme.value = UNQUANTIZED;
  if (!canDequantize && scheme.peek() === UNQUANTIZED) scheme.value = DEFAULT_SCHEME;
}
