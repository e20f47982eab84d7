// A choice of one scheme for each set of modules as an ordinary recipe: groups with patterns of names, which anybody can edit.

import {
  type ConfigGroup,
  isRewriting,
  type QuantizingModifier,
  type Recipe,
} from "../../formats/recipe/recipe.ts";

/** "model.layers.3.self_attn.q_proj" in three parts. */
const LAYER = /^(.*?\.)(\d+)(\..*)$/;

/**
 * One modifier with a group for each scheme that anything has. What none targets stays as it is.
 * @param base the modifier that all of them are of, and what it ignores
 * @param chosen schemes with their modules; sets of modules that a server fuses are in one
 */
export function mixedRecipe(
  base: QuantizingModifier,
  chosen: readonly { readonly scheme: ConfigGroup["scheme"]; readonly modules: readonly string[] }[],
): Recipe {
  const groups = chosen
    .filter(({ modules }) => modules.length > 0)
    .map(({ scheme, modules }, index) => ({
      name: `group_${index}`,
      preset: null,
      scheme,
      targets: patternsOf(modules),
    }));
  return { modifiers: [{ ...base, groups }] };
}

/** The only modifier of a recipe that has one, with one scheme; null of any other. */
export function onlyModifier({ rotation, modifiers }: Recipe): QuantizingModifier | null {
  const [only, ...more] = modifiers;
  if (!only || more.length > 0 || rotation || isRewriting(only) || only.groups.length !== 1) return null;
  return only;
}

/**
 * Modules that differ in the number of their layer alone as one pattern; experts of a layer, which have one scheme, as one name.
 * No pattern is so wide that a module of another list fits it.
 */
function patternsOf(modules: readonly string[]): string[] {
  const layers = new Map<string, Set<string>>();
  for (const module of modules) {
    const [, head = module, layer = "", tail = ""] = LAYER.exec(module) ?? [];
    const key = JSON.stringify([head, tail.replace(/\.experts\.\d+\./, ".experts.*.")]);
    const own = layers.get(key) ?? new Set();
    layers.set(key, own.add(layer));
  }
  return Array.from(layers, ([key, numbers]) => {
    const [head, tail] = JSON.parse(key) as [string, string];
    const which = [...numbers].toSorted((a, b) => Number(a) - Number(b)).join("|");
    if (which === "") return head;
    const experts = escape(tail).replace("\\.experts\\.\\*\\.", "\\.experts\\.\\d+\\.");
    return `re:${escape(head)}(${which})${experts}$`;
  });
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
