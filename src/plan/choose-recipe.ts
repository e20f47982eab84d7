// The page's recipe controls to a recipe.

import { RecipeError } from "../errors.ts";
import { isPresetName, PRESETS } from "../formats/presets.ts";
import type { QuantizationArgs } from "../formats/quantization-args.ts";
import { DEFAULT_TARGETS, type Recipe } from "../formats/recipe.ts";

/** No model has wider rows; keeps a typed number from becoming an allocation. */
const MAX_GROUP_SIZE = 65_536;

/**
 * A recipe with one group of the named preset.
 * @throws RecipeError for an unknown preset, or a group size that the preset cannot have.
 */
export function recipeFromControls(
  scheme: string,
  groupSize: number | null,
  ignore: readonly string[],
): Recipe {
  const name = scheme.toUpperCase();
  if (!isPresetName(name)) {
    throw new RecipeError(
      `There is no preset "${scheme}". The presets are ${Object.keys(PRESETS).join(", ")}.`,
    );
  }
  const { weights, input_activations } = PRESETS[name];
  const changed = groupSize !== null && groupSize !== weights.group_size;
  const group = {
    name: "group_0",
    preset: changed ? null : name,
    scheme: { weights: changed ? withGroupSize(name, weights, groupSize) : weights, input_activations },
    targets: DEFAULT_TARGETS,
  };
  return { modifier: "QuantizationModifier", groups: [group], ignore, kv_cache_scheme: null };
}

function withGroupSize(name: string, weights: QuantizationArgs, groupSize: number): QuantizationArgs {
  if (weights.strategy !== "group") {
    throw new RecipeError(`${name} has one scale per ${weights.strategy}; it takes no group size.`);
  }
  if (!Number.isSafeInteger(groupSize) || groupSize < 1 || groupSize > MAX_GROUP_SIZE) {
    throw new RecipeError(`The group size ${groupSize} is not a whole number from 1 to ${MAX_GROUP_SIZE}.`);
  }
  return { ...weights, group_size: groupSize };
}
