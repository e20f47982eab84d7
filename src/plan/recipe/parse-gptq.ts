// What GPTQModifier has beyond rounding to nearest, and the refinement that either may have, as a recipe writes them.

import {
  fitsScales,
  GPTQ_ACTORDER,
  GPTQ_SETTINGS,
  type GptqSettings,
  REFINE_BLOCK,
  type RoundingSettings,
} from "../../formats/modifiers/gptq.ts";
import type { ActorderSetting } from "../../formats/schemes/quantization-args.ts";
import type { ConfigGroup } from "../../formats/recipe/recipe.ts";
import type { RecipeDocument } from "./recipe-document.ts";
import type { ParsedModifier } from "./recipe-schema.ts";
import { withActorder } from "./resolve-actorder.ts";

type Path = readonly string[];

/** @throws RecipeError for a refinement that would leave a group's weights as they are. */
export function gptqSettings(
  document: RecipeDocument,
  path: Path,
  groups: readonly ConfigGroup[],
  parsed: ParsedModifier,
): GptqSettings {
  const { block_size, dampening_frac, drift } = parsed;
  return {
    block_size: block_size ?? GPTQ_SETTINGS.block_size,
    dampening_frac: dampening_frac ?? GPTQ_SETTINGS.dampening_frac,
    ...refinement(document, path, groups, parsed),
    ...(drift && { drift }),
  };
}

/**
 * How codes and scales are refined; null if they are not.
 * @throws RecipeError for a refinement that would leave a group's weights as they are.
 */
export function refinement(
  document: RecipeDocument,
  path: Path,
  groups: readonly ConfigGroup[],
  { refine }: ParsedModifier,
): RoundingSettings | null {
  if (!refine) return null;
  const fixed = groups.find(({ scheme: { weights } }) => weights && !fitsScales(weights));
  if (refine.passes === 0 && fixed) {
    throw document.errorAt(
      [...path, "refine"],
      `Without passes only scales are refined, those of groups of at most ${REFINE_BLOCK} columns; ${fixed.name} has none, and would stay as it is. Give at least one pass`,
    );
  }
  return { refine };
}

/** GPTQ's own actorder, unless the group has one: "static" if neither says anything (`resolve_actorder`). */
export function orderedGroup(
  document: RecipeDocument,
  path: Path,
  group: ConfigGroup,
  parsed: ParsedModifier,
): ConfigGroup {
  const { weights } = group.scheme;
  if (!weights) return group;
  const given: ActorderSetting | undefined = parsed.actorder;
  const own = weights.actorder;
  if (given !== undefined && own !== null && own !== given) {
    throw document.errorAt(
      [...path, "actorder"],
      `The modifier's actorder ${given ?? "null"} and that of ${group.name}, ${own}, differ: give only one`,
    );
  }
  const ordered = withActorder(weights, given === undefined ? (own ?? GPTQ_ACTORDER) : given);
  if ("problem" in ordered)
    throw document.errorAt([...path, "actorder"], `${group.name}: ${ordered.problem}`);
  return { ...group, scheme: { ...group.scheme, weights: ordered.args } };
}
