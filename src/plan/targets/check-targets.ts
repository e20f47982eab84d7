// Targets that nothing is done for. compressed-tensors only warns of them; here a recipe is carried out as it is written, or refused.

import { RecipeError } from "../../errors.ts";
import { groupsOf, type Recipe } from "../../formats/recipe/recipe.ts";
import { showValue } from "../../formats/text/show-value.ts";
import type { Meter } from "../pattern/create-automaton.ts";
import { LINEAR_CLASSES } from "./target-list.ts";
import { compilePattern, MAX_MATCHING_WORK, moduleName } from "./target-pattern.ts";

/** Modules by their names in files and in loaders: those that a recipe can quantize, and those that it cannot. */
export interface Targetable {
  readonly linears: readonly string[];
  readonly others: readonly string[];
}

/**
 * Sees to it that every target means a Linear of the model, whether or not `ignore` or a stronger target takes it away.
 * @throws RecipeError about the first that means none
 */
export function checkTargets(recipe: Recipe, { linears, others }: Targetable): void {
  const meter: Meter = { left: MAX_MATCHING_WORK };
  const targets = new Set(groupsOf(recipe).flatMap((group) => group.targets));
  const exact = new Set(linears);
  for (const target of targets) {
    if (LINEAR_CLASSES.includes(target) || exact.has(target)) continue;
    const means = meaning(target, meter);
    if (target.startsWith("re:") && linears.some(means)) continue;
    throw new RecipeError(refusal(target, others.find(means)));
  }
}

function meaning(target: string, meter: Meter): (module: string) => boolean {
  if (!target.startsWith("re:")) return (module) => module === target;
  const pattern = compilePattern(target.slice(3));
  return (module) => pattern.matches(moduleName(module), meter);
}

function refusal(target: string, other: string | undefined): string {
  const shown = showValue(target);
  const next = "Take it out of the targets, or correct it.";
  if (other !== undefined)
    return `The target ${shown} means ${showValue(other)}, which is not quantized here: only Linears are, and no routers. ${next}`;
  // A class is written with a capital and without dots; modules are not.
  if (/^[A-Z]\w*$/.test(target))
    return `The target ${shown} is the name of a class, and the only class that is quantized here is Linear. ${next}`;
  return `The target ${shown} means no Linear of this model. ${next}`;
}
