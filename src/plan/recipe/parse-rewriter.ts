// The modifiers of a recipe that move factors between tensors: their arguments, and where in a recipe they may stand.

import * as v from "valibot";
import { REWRITERS } from "../../formats/modifiers/rewriters.ts";
import {
  isRewriting,
  type MappingTargets,
  type Modifier,
  type QuantizingModifier,
  type RewritingModifier,
} from "../../formats/recipe/recipe.ts";
import type { RecipeDocument } from "./recipe-document.ts";
import { AWQ_QUANTIZING_FIELDS, awqModifierSchema, smoothQuantModifierSchema } from "./rewriter-schema.ts";
import { compilePattern } from "../targets/target-pattern.ts";

type Path = readonly string[];

export const REWRITER_NAMES: readonly string[] = REWRITERS.map(({ name }) => name);

/**
 * Parses the modifier at a path.
 * @throws RecipeError that names line, column and reason.
 */
export function parseRewriter(document: RecipeDocument, path: Path): RewritingModifier {
  return path.at(-1) === "AWQModifier" ? parseAwq(document, path) : parseSmoothQuant(document, path);
}

function parseSmoothQuant(document: RecipeDocument, path: Path): RewritingModifier {
  const parsed = parseArguments(document, path, smoothQuantModifierSchema);
  const { smoothing_strength, algorithm } = parsed;
  const ignore = parsed.ignore ?? [];
  checkPatterns(document, [...path, "ignore"], ignore);
  return {
    name: "SmoothQuantModifier",
    mappings: checkedMappings(document, path, parsed.mappings),
    ignore,
    settings: { smoothing_strength, algorithm },
  };
}

/** Fields without which the others that quantize say nothing. */
const SAYS_SCHEME: ReadonlySet<string> = new Set(["scheme", "config_groups", "kv_cache_scheme"]);

function parseAwq(document: RecipeDocument, path: Path): RewritingModifier {
  const { mappings, duo_scaling, n_grid, loss } = parseArguments(document, path, awqModifierSchema);
  const idle = document.keysAt(path)?.find((key) => AWQ_QUANTIZING_FIELDS.includes(key));
  if (idle !== undefined && !quantizesToo(document, path)) {
    throw document.errorAt(
      [...path, idle],
      `${idle} says what is quantized, which AWQModifier does not do without a scheme: give ${idle} to the modifier behind it`,
    );
  }
  // With fewer, the grid has no two ends.
  const least = duo_scaling === "both" ? 4 : duo_scaling ? 3 : 2;
  if (n_grid < least) {
    throw document.errorAt(
      [...path, "n_grid"],
      `n_grid is ${n_grid}; with duo_scaling: ${duo_scaling} it is at least ${least}, usually 20`,
    );
  }
  return {
    name: "AWQModifier",
    mappings: checkedMappings(document, path, mappings),
    ignore: [],
    settings: { duo_scaling, n_grid, ...(loss === "block" ? { loss } : {}) },
  };
}

/** True for LLM Compressor's older AWQModifier, which stands for itself and a QuantizationModifier behind it. */
export function quantizesToo(document: RecipeDocument, path: Path): boolean {
  return (
    path.at(-1) === "AWQModifier" &&
    (document.keysAt(path) ?? []).some(
      (key) => SAYS_SCHEME.has(key) && document.valueAt([...path, key]) !== null,
    )
  );
}

function parseArguments<Schema extends v.GenericSchema>(
  document: RecipeDocument,
  path: Path,
  schema: Schema,
): v.InferOutput<Schema> {
  return document.valueAt(path) === null ? v.parse(schema, {}) : document.parseAt(path, schema);
}

function checkedMappings(
  document: RecipeDocument,
  path: Path,
  mappings: readonly MappingTargets[] | null | undefined,
): readonly MappingTargets[] | null {
  const named = mappings?.flatMap(({ smooth_layer, balance_layers }) => [smooth_layer, ...balance_layers]);
  checkPatterns(document, [...path, "mappings"], named ?? []);
  return mappings ?? null;
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
    if (modifier.name === "AWQModifier") {
      checkAwq(
        document,
        path,
        modifier,
        placed.slice(index + 1).map((other) => other.modifier),
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

function checkAwq(
  document: RecipeDocument,
  path: Path,
  { name, settings }: Extract<RewritingModifier, { name: "AWQModifier" }>,
  behind: readonly Modifier[],
): void {
  if (behind.some((other) => other.name === name)) {
    throw document.errorAt(
      path,
      `${name} is there twice: the second would search for scales of weights that the first has scaled. Name it once`,
    );
  }
  const quantizing = behind.filter((other): other is QuantizingModifier => !isRewriting(other));
  const whole = quantizing
    .flatMap(({ groups }) => groups)
    .find(({ scheme }) => scheme.weights?.strategy === "tensor");
  if (whole && settings.duo_scaling !== false) {
    throw document.errorAt(
      path,
      `${name}: duo_scaling compares the columns of each group of weights, and ${whole.preset ?? whole.name} has one scale for a whole weight. Set duo_scaling to false, or take a scheme with groups or channels`,
    );
  }
}
