// A recipe in LLM Compressor's YAML: stage, modifier group, modifier, arguments. Nulls are dropped, as its own are, except
// an actorder, whose absence means "static".

import { stringify } from "yaml";
import { quantizerOf } from "../formats/modifiers/quantizers.ts";
import { SPIN_QUANT } from "../formats/modifiers/spinquant.ts";
import type { QuantizationArgs } from "../formats/schemes/quantization-args.ts";
import {
  type ConfigGroup,
  isRewriting,
  type Modifier,
  type QuantizingModifier,
  type Recipe,
  type RewritingModifier,
} from "../formats/recipe/recipe.ts";

/**
 * The recipe as a document. LLM Compressor's groups hold each kind of modifier once, so of two equal ones the second opens
 * another group.
 */
export function recipeYaml(recipe: Recipe): string {
  const { rotation } = recipe;
  const groups: Record<string, Record<string, unknown>> = rotation
    ? { default_modifiers: { [SPIN_QUANT.name]: rotation } }
    : {};
  for (const modifier of recipe.modifiers) {
    const name = groupFor(groups, modifier.name);
    groups[name] = { ...groups[name], [modifier.name]: modifierArguments(modifier) };
  }
  return stringify({ default_stage: groups }, { lineWidth: 110 });
}

function groupFor(groups: Readonly<Record<string, Record<string, unknown>>>, modifier: string): string {
  for (let count = 0; ; count++) {
    const name = count === 0 ? "default_modifiers" : `default_${count}_modifiers`;
    if (!groups[name] || !Object.hasOwn(groups[name], modifier)) return name;
  }
}

function modifierArguments(modifier: Modifier): Record<string, unknown> {
  return isRewriting(modifier) ? rewritingArguments(modifier) : quantizingArguments(modifier);
}

/** Mappings as the modifier's own class writes them. */
function rewritingArguments({
  name,
  mappings,
  ignore,
  settings,
}: RewritingModifier): Record<string, unknown> {
  if (name === "AWQModifier") return { ...(mappings ? { mappings } : {}), ...settings };
  const written = mappings?.map(({ smooth_layer, balance_layers }) => [balance_layers, smooth_layer]);
  return { ...settings, ...(written ? { mappings: written } : {}), ignore };
}

function quantizingArguments(modifier: QuantizingModifier): Record<string, unknown> {
  const { ignore, kv_cache_scheme } = modifier;
  return {
    ...schemeArguments(modifier),
    ignore,
    ...(kv_cache_scheme ? { kv_cache_scheme: compactArgs(kv_cache_scheme) } : {}),
    ...ownArguments(modifier),
  };
}

/** What the modifier has beyond the groups. */
function ownArguments(modifier: QuantizingModifier): Record<string, unknown> {
  if (!("settings" in modifier)) return {};
  const actorder = quantizerOf(modifier.name).ordersColumns
    ? { actorder: modifier.groups[0]?.scheme.weights?.actorder ?? null }
    : {};
  return { ...modifier.settings, ...actorder };
}

/** One unchanged preset is named; anything else is spelled out as config_groups. */
function schemeArguments({ groups }: QuantizingModifier): Record<string, unknown> {
  const [only] = groups;
  if (!only) return {};
  if (groups.length === 1 && only.preset) return { targets: only.targets, scheme: only.preset };
  return { config_groups: Object.fromEntries(groups.map((group) => [group.name, groupArguments(group)])) };
}

function groupArguments({ scheme, targets }: ConfigGroup): Record<string, unknown> {
  return {
    targets,
    ...(scheme.weights ? { weights: compactArgs(scheme.weights) } : {}),
    ...(scheme.input_activations ? { input_activations: compactArgs(scheme.input_activations) } : {}),
    ...(scheme.format ? { format: scheme.format } : {}),
  };
}

function compactArgs(args: QuantizationArgs): Record<string, unknown> {
  const entries = Object.entries(args).filter(
    ([name, value]) =>
      value !== null && !(name === "observer_kwargs" && Object.keys(args.observer_kwargs).length === 0),
  );
  return Object.fromEntries(entries);
}
