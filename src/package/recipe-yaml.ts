// A recipe in LLM Compressor's YAML: stage, modifier group, modifier, arguments. Nulls are dropped, as its own are.

import { stringify } from "yaml";
import type { QuantizationArgs } from "../formats/quantization-args.ts";
import type { ConfigGroup, Recipe } from "../formats/recipe.ts";

export function recipeYaml(recipe: Recipe): string {
  const modifier = {
    ...schemeArguments(recipe),
    ignore: recipe.ignore,
    ...(recipe.kv_cache_scheme ? { kv_cache_scheme: compactArgs(recipe.kv_cache_scheme) } : {}),
  };
  const document = { default_stage: { default_modifiers: { [recipe.modifier]: modifier } } };
  return stringify(document, { lineWidth: 110 });
}

/** One unchanged preset is named; anything else is spelled out as config_groups. */
function schemeArguments({ groups }: Recipe): Record<string, unknown> {
  const [only] = groups;
  if (groups.length === 1 && only?.preset) return { targets: only.targets, scheme: only.preset };
  return { config_groups: Object.fromEntries(groups.map((group) => [group.name, groupArguments(group)])) };
}

function groupArguments({ scheme, targets }: ConfigGroup): Record<string, unknown> {
  return {
    targets,
    ...(scheme.weights ? { weights: compactArgs(scheme.weights) } : {}),
    ...(scheme.input_activations ? { input_activations: compactArgs(scheme.input_activations) } : {}),
  };
}

function compactArgs(args: QuantizationArgs): Record<string, unknown> {
  const entries = Object.entries(args).filter(
    ([name, value]) =>
      value !== null && !(name === "observer_kwargs" && Object.keys(args.observer_kwargs).length === 0),
  );
  return Object.fromEntries(entries);
}
