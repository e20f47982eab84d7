// Targets and ignore as compressed-tensors matches them (`utils/match.py`): "re:" is a regular expression that must match
// from the start of the module's name; otherwise the exact name or the class name.

import {
  type ConfigGroup,
  type QuantizingModifier,
  quantizingModifiers,
  type Recipe,
} from "../../formats/recipe/recipe.ts";
import { createTargetList, type TargetList } from "./target-list.ts";

/** Multimodal checkpoints nest the output head; the models that recipes are written for have it at the top. */
const NESTED_HEAD = "language_model.lm_head";

const namesLists = new WeakMap<readonly string[], TargetList<true>>();
const groupLists = new WeakMap<QuantizingModifier, TargetList<ConfigGroup>>();

/** Lists of recipes never change, so each is prepared once. */
function listOf(names: readonly string[]): TargetList<true> {
  const known = namesLists.get(names);
  if (known) return known;
  const made = createTargetList(names.map((name) => [name, true] as const));
  namesLists.set(names, made);
  return made;
}

function groupsOf(modifier: QuantizingModifier): TargetList<ConfigGroup> {
  const known = groupLists.get(modifier);
  if (known) return known;
  const made = createTargetList(
    modifier.groups.flatMap((group) => group.targets.map((target) => [target, group] as const)),
  );
  groupLists.set(modifier, made);
  return made;
}

/** True if the list means the module as compressed-tensors matches it, class names included. */
export function isListed(module: string, names: readonly string[]): boolean {
  return listOf(names).find(module) !== null;
}

export function isIgnored(module: string, ignore: readonly string[]): boolean {
  return isListed(module, ignore) || (module === NESTED_HEAD && listOf(ignore).has("lm_head"));
}

/** True if a target of the group means the module by name or pattern, not just by its class. */
export function isNamed(module: string, { targets }: Pick<ConfigGroup, "targets">): boolean {
  return listOf(targets).findNamed(module) !== null;
}

/** True if a target of the group means the Linear of that name. */
export function isTargeted(module: string, { targets }: Pick<ConfigGroup, "targets">): boolean {
  return listOf(targets).find(module) !== null;
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
 * @param names the Linear's name, or several that it goes by, best first: a name that is ignored keeps all of them out
 */
export function matchGroup(names: string | readonly string[], recipe: Recipe): GroupMatch | null {
  const known = typeof names === "string" ? [names] : names;
  for (const modifier of quantizingModifiers(recipe).toReversed()) {
    if (known.some((name) => isIgnored(name, modifier.ignore))) continue;
    for (const name of known) {
      const group = groupsOf(modifier).find(name);
      if (group) return { modifier, group };
    }
  }
  return null;
}
