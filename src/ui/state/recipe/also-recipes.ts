// What else is made in the run of the chosen recipe: presets that take its method where they can.

import type { RecipeChoice, RecipeControls } from "../../../api/job-options.ts";
import { quantizerOf } from "../../../formats/modifiers/quantizers.ts";
import { METHOD_DEFAULTS, refusalOf } from "./read-recipe-choice.ts";
import { readScheme } from "./read-scheme.ts";

/** Another preset with what holds for the chosen recipe, as far as it can be told to that preset. */
export function alsoRecipe(chosen: RecipeChoice, scheme: string): RecipeControls {
  const own = chosen.kind === "controls" ? chosen : null;
  const facts = readScheme(scheme);
  const takes = own !== null && refusalOf(quantizerOf(own.method.name), scheme) === null;
  const regroups = facts !== null && facts.groupSize !== null && !facts.fixedGroups;
  return {
    kind: "controls",
    scheme,
    group_size: regroups ? (own?.group_size ?? null) : null,
    ignore: own?.ignore ?? ["lm_head"],
    method: takes ? own.method : METHOD_DEFAULTS.QuantizationModifier,
    observer: "memoryless_minmax",
  };
}

/** Each is measured, which takes time; 4 and 8 bits alone would lose to 5 for all. */
const MIXABLE_SCHEMES = ["W6A16", "W8A16"] as const;

/** Of 4, 6 and 8 bits by GPTQ, with what holds for the chosen recipe: what one server runs mixed. */
export function mixableRecipes(chosen: RecipeChoice): readonly [RecipeControls, ...RecipeControls[]] {
  const own = chosen.kind === "controls" ? chosen : null;
  const method = own?.method.name === "GPTQModifier" ? own.method : METHOD_DEFAULTS.GPTQModifier;
  const base = { ...alsoRecipe(chosen, "W4A16"), method, observer: own?.observer ?? "memoryless_minmax" };
  return [base, ...MIXABLE_SCHEMES.map((scheme) => ({ ...base, scheme }))];
}
