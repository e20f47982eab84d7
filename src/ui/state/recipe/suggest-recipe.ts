import type { ModelSummary } from "../../../api/compressor-api.ts";
import { DEFAULT_SCHEME } from "./preset-cards.ts";
import { UNQUANTIZED } from "./read-scheme.ts";
import type { RecipeFields } from "./recipe-fields.ts";

/**
 * Moves the choice of preset where the one that stands makes little sense: quantized weights are written back as plain ones
 * unless the user asks for more, and plain weights cannot be. FP8 in blocks is what large models are only to be had in.
 */
export function suggestRecipe({ scheme }: RecipeFields, { quantization }: ModelSummary): void {
  const canDequantize = (quantization?.modules.length ?? 0) > 0;
  const isResult = canDequantize && quantization?.method !== "fp8";
  if (isResult && scheme.peek() === DEFAULT_SCHEME) scheme.value = UNQUANTIZED;
  if (!canDequantize && scheme.peek() === UNQUANTIZED) scheme.value = DEFAULT_SCHEME;
}
