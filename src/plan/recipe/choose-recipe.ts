// The page's recipe controls to a recipe.

import { RecipeError } from "../../errors.ts";
import { findScheme, PRESET_NAMES, UNQUANTIZED } from "../../formats/schemes/presets.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { AWQ_SETTINGS } from "../../formats/modifiers/awq.ts";
import { GPTQ_SETTINGS } from "../../formats/modifiers/gptq.ts";
import { rewriterOf } from "../../formats/modifiers/rewriters.ts";
import { SMOOTHQUANT_SETTINGS } from "../../formats/modifiers/smoothquant.ts";
import {
  DEFAULT_IGNORE,
  DEFAULT_TARGETS,
  type QuantizingModifier,
  type Recipe,
  type RewritingModifier,
} from "../../formats/recipe/recipe.ts";
import type { MethodControls, RecipeControls } from "../../api/job-options.ts";
import { observerProblem } from "./check-args.ts";
import { withActorder } from "./resolve-actorder.ts";

/** No model has wider rows; keeps a typed number from becoming an allocation. */
const MAX_GROUP_SIZE = 65_536;

/** The controls as they stand before anybody touches them. */
export function defaultControls(scheme: string): RecipeControls {
  return {
    kind: "controls",
    scheme,
    group_size: null,
    ignore: DEFAULT_IGNORE,
    method: { name: "QuantizationModifier" },
    observer: "memoryless_minmax",
  };
}

/**
 * A recipe with one group of the named preset.
 * @throws RecipeError for an unknown preset, or for settings that the preset cannot have; UNQUANTIZED takes none.
 */
export function recipeFromControls(controls: RecipeControls): Recipe {
  const { scheme, group_size, ignore, method, observer } = controls;
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
  const problem = observerProblem(observed);
  if (problem) throw new RecipeError(`${preset.name}: ${problem}`);
  const group = {
    name: "group_0",
    preset: changed ? null : preset.name,
    scheme: { weights: orderedBy(preset.name, method, observed), input_activations },
    targets: DEFAULT_TARGETS,
  };
  const quantizing = modifierOf(method, { groups: [group], ignore, kv_cache_scheme: null });
  return { modifiers: [...rewritingOf(controls, preset.name, weights), quantizing] };
}

/**
 * The modifier with its defaults. What the recipe ignores is not quantized; it may still take factors.
 * @throws RecipeError if it cannot prepare these weights
 */
function rewritingOf(
  { rewriter: name, awq_loss: loss }: Pick<RecipeControls, "rewriter" | "awq_loss">,
  preset: string,
  weights: QuantizationArgs,
): RewritingModifier[] {
  if (name === undefined) return [];
  const problem = rewriterOf(name).refuses(weights);
  if (problem !== null) throw new RecipeError(`${preset}: ${problem}. Leave ${name} out.`);
  const plain = { mappings: null, ignore: [] };
  return name === "AWQModifier"
    ? [{ name, ...plain, settings: { ...AWQ_SETTINGS, ...(loss ? { loss } : {}) } }]
    : [{ name, ...plain, settings: SMOOTHQUANT_SETTINGS }];
}

function modifierOf(
  method: MethodControls,
  of: Pick<QuantizingModifier, "groups" | "ignore" | "kv_cache_scheme">,
): QuantizingModifier {
  if (method.name === "QuantizationModifier") return { name: method.name, ...of };
  const dampening_frac = checkDamping(method.dampening_frac);
  return { name: method.name, ...of, settings: { ...GPTQ_SETTINGS, dampening_frac } };
}

/** The order of columns stands in the weight arguments. */
function orderedBy(name: string, method: MethodControls, weights: QuantizationArgs): QuantizationArgs {
  if (method.name === "QuantizationModifier") return weights;
  const ordered = withActorder(weights, method.actorder);
  if ("problem" in ordered) throw new RecipeError(`${name}: ${ordered.problem}`);
  return ordered.args;
}

/** Writes the weights of a quantized model as plain ones; nothing is left to be ignored. */
function unquantized({ name, scheme }: NonNullable<ReturnType<typeof findScheme>>): Recipe {
  const group = { name: "group_0", preset: name, scheme, targets: DEFAULT_TARGETS };
  const modifier = {
    name: "QuantizationModifier",
    groups: [group],
    ignore: [],
    kv_cache_scheme: null,
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
