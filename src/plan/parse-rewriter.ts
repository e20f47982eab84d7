// The modifiers of a recipe that move factors between tensors: their arguments, and where in a recipe they may stand.

import * as v from "valibot";
import { REWRITERS } from "../formats/modifiers/rewriters.ts";
import { isRewriting, type Modifier, type RewritingModifier } from "../formats/recipe.ts";
import type { RecipeDocument } from "./recipe-document.ts";
import { smoothQuantModifierSchema } from "./rewriter-schema.ts";
import { compilePattern } from "./target-pattern.ts";

type Path = readonly string[];

export const REWRITER_NAMES: readonly string[] = REWRITERS.map(({ name }) => name);

/**
 * Parses the modifier at a path.
 * @throws RecipeError that names line, column and reason.
 */
export function parseRewriter(document: RecipeDocument, path: Path): RewritingModifier {
  const schema = smoothQuantModifierSchema;
  const isEmpty = document.valueAt(path) === null;
  const parsed = isEmpty ? v.parse(schema, {}) : document.parseAt(path, schema);
  const { smoothing_strength, algorithm } = parsed;
  const mappings = parsed.mappings ?? null;
  const ignore = parsed.ignore ?? [];
  const named = mappings?.flatMap(({ smooth_layer, balance_layers }) => [smooth_layer, ...balance_layers]);
  checkPatterns(document, [...path, "mappings"], named ?? []);
  checkPatterns(document, [...path, "ignore"], ignore);
  return { name: "SmoothQuantModifier", mappings, ignore, settings: { smoothing_strength, algorithm } };
}

/**
 * Every pattern is tried once, so that a bad one is reported at its line and not in the middle of planning.
 * @throws RecipeError
 */
export function checkPatterns(document: RecipeDocument, place: Path, targets: readonly string[]): void {
  for (const target of targets) {
    if (!target.startsWith("re:")) continue;
    try {
      compilePattern(target.slice(3));
    } catch (error) {
      throw document.errorAt(place, error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * What moves factors has to come before what chooses codes, and something has to.
 * @throws RecipeError
 */
export function checkOrder(
  document: RecipeDocument,
  placed: readonly { readonly path: Path; readonly modifier: Modifier }[],
): void {
  for (const [index, { path, modifier }] of placed.entries()) {
    if (!isRewriting(modifier)) continue;
    const before = placed.slice(0, index).find((other) => !isRewriting(other.modifier));
    if (before) {
      throw document.errorAt(
        path,
        `${modifier.name} stands behind ${before.modifier.name}, which has chosen its codes by then: put it before`,
      );
    }
    if (placed.every((other) => isRewriting(other.modifier))) {
      throw document.errorAt(
        path,
        `${modifier.name} only prepares weights, and nothing behind it quantizes them: add QuantizationModifier or GPTQModifier`,
      );
    }
  }
}
