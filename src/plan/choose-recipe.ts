// The page's recipe controls to a recipe.

import { RecipeError } from "../errors.ts";
import { findScheme, PRESET_NAMES, UNQUANTIZED } from "../formats/presets.ts";
import type { ActorderSetting, QuantizationArgs } from "../formats/quantization-args.ts";
import { DEFAULT_IGNORE, DEFAULT_TARGETS, GPTQ_SETTINGS, type Recipe } from "../formats/recipe.ts";

/** No model has wider rows; keeps a typed number from becoming an allocation. */
const MAX_GROUP_SIZE = 65_536;

/** What the controls say; see `RecipeControls` in api/job-options.ts. */
export interface Controls {
  readonly scheme: string;
  readonly group_size: number | null;
  readonly ignore: readonly string[];
  readonly gptq: { readonly dampening_frac: number; readonly actorder: ActorderSetting } | null;
  readonly observer: "memoryless_minmax" | "memoryless_mse";
}

/** The controls as they stand before anybody touches them. */
export function defaultControls(scheme: string): Controls {
  return { scheme, group_size: null, ignore: DEFAULT_IGNORE, gptq: null, observer: "memoryless_minmax" };
}

/**
 * A recipe with one group of the named preset.
 * @throws RecipeError for an unknown preset, or for settings that the preset cannot have; UNQUANTIZED takes none.
 */
export function recipeFromControls(controls: Controls): Recipe {
  const { scheme, group_size, ignore, gptq, observer } = controls;
  const preset = findScheme(scheme);
  if (preset?.name === UNQUANTIZED) return unquantized(preset);
  if (!preset?.scheme.weights) {
    throw new RecipeError(`There is no preset "${scheme}". The presets are ${PRESET_NAMES.join(", ")}.`);
  }
  const { weights, input_activations } = preset.scheme;
  const regrouped = group_size !== null && group_size !== weights.group_size;
  const changed = regrouped || observer !== weights.observer;
  const sized = regrouped ? withGroupSize(preset.name, weights, group_size) : weights;
  const observed = observer === weights.observer ? sized : { ...sized, observer };
  const group = {
    name: "group_0",
    preset: changed ? null : preset.name,
    scheme: { weights: gptq ? { ...observed, actorder: gptq.actorder } : observed, input_activations },
    targets: DEFAULT_TARGETS,
  };
  const modifier = {
    name: gptq ? "GPTQModifier" : "QuantizationModifier",
    groups: [group],
    ignore,
    kv_cache_scheme: null,
    gptq: gptq ? { ...GPTQ_SETTINGS, dampening_frac: checkDamping(gptq.dampening_frac) } : null,
  } as const;
  return { modifiers: [modifier] };
}

/** Writes the weights of a quantized model as plain ones; nothing is left to be ignored. */
function unquantized({ name, scheme }: NonNullable<ReturnType<typeof findScheme>>): Recipe {
  const group = { name: "group_0", preset: name, scheme, targets: DEFAULT_TARGETS };
  const modifier = {
    name: "QuantizationModifier",
    groups: [group],
    ignore: [],
    kv_cache_scheme: null,
    gptq: null,
  } as const;
  return { modifiers: [modifier] };
}

function checkDamping(fraction: number): number {
  if (Number.isFinite(fraction) && fraction >= 0 && fraction <= 1) return fraction;
  throw new RecipeError(`dampening_frac is ${fraction}; it is a number from 0 to 1, usually 0.01.`);
}

function withGroupSize(name: string, weights: QuantizationArgs, groupSize: number): QuantizationArgs {
  if (weights.strategy !== "group") {
    throw new RecipeError(`${name} has one scale per ${weights.strategy}; it takes no group size.`);
  }
  if (weights.scale_dtype !== null) {
    throw new RecipeError(
      `${name} is a format with groups of ${weights.group_size}; they cannot be changed.`,
    );
  }
  if (!Number.isSafeInteger(groupSize) || groupSize < 1 || groupSize > MAX_GROUP_SIZE) {
    throw new RecipeError(`The group size ${groupSize} is not a whole number from 1 to ${MAX_GROUP_SIZE}.`);
  }
  return { ...weights, group_size: groupSize };
}
