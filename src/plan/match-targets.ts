// Targets and ignore as compressed-tensors matches them (`utils/match.py`): "re:" is a regular expression that must match
// from the start of the module's name; otherwise the exact name or the class name. Checkpoints have no classes, so the
// only class known here is Linear, by its names in transformers and vLLM.

import type { ConfigGroup, QuantizingModifier, Recipe } from "../formats/recipe.ts";
import { matchesFromStart } from "./target-pattern.ts";

const LINEAR_CLASSES = new Set(["Linear", "LinearBase"]);

type Strength = 0 | 1 | 2 | 3;

/** How strongly a target matches a Linear: 3 by exact name, 2 by regular expression, 1 by class, 0 not at all. */
function strength(target: string, module: string): Strength {
  if (target === module) return 3;
  if (target.startsWith("re:")) return matchesFromStart(target.slice(3), module) ? 2 : 0;
  return LINEAR_CLASSES.has(target) ? 1 : 0;
}

/** Multimodal checkpoints nest the output head; the models that recipes are written for have it at the top. */
const NESTED_HEAD = "language_model.lm_head";

export function isIgnored(module: string, ignore: readonly string[]): boolean {
  if (module === NESTED_HEAD && ignore.includes("lm_head")) return true;
  return ignore.some((entry) => strength(entry, module) > 0);
}

/** True if a target of the group means the module by name or pattern, not just by its class. */
export function isNamed(module: string, { targets }: ConfigGroup): boolean {
  return targets.some((target) => strength(target, module) > 1);
}

/** A Linear's group and the modifier that it is of. */
export interface GroupMatch {
  readonly modifier: QuantizingModifier;
  readonly group: ConfigGroup;
}

/**
 * The group that a Linear belongs to: the last modifier's that targets it; in a modifier by exact name before regular
 * expression before class, within equals by the alphabetical order of the targets, and of two groups with the same target
 * the later one. Null if nothing targets it or it is ignored.
 */
export function matchGroup(module: string, recipe: Recipe): GroupMatch | null {
  for (const modifier of recipe.modifiers.toReversed()) {
    const group = matchInModifier(module, modifier);
    if (group) return { modifier, group };
  }
  return null;
}

function matchInModifier(module: string, modifier: QuantizingModifier): ConfigGroup | null {
  if (isIgnored(module, modifier.ignore)) return null;
  const matches = modifier.groups
    .toReversed()
    .flatMap((group) =>
      group.targets.map((target) => ({ group, target, strength: strength(target, module) })),
    )
    .filter((match) => match.strength > 0)
    .toSorted((a, b) => b.strength - a.strength || (a.target < b.target ? -1 : Number(a.target > b.target)));
  return matches[0]?.group ?? null;
}
