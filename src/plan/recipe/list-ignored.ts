// The `ignore` of config.json: what a loader would otherwise look for quantized weights of.

import { groupsOf, type Recipe } from "../../formats/recipe/recipe.ts";
import type { LinearClasses } from "../../model/linear-classes.ts";
import { EVERY_EXPERT, isExpert } from "../notes/expert-notes.ts";
import { towerOf } from "../checkpoint/find-linears.ts";

export interface IgnoreFacts {
  readonly classes: LinearClasses;
  readonly recipe: Recipe;
  /** Modules that stay as they are, as the files name them. */
  readonly ignored: readonly string[];
  readonly quantized: readonly string[];
  /** Names of all modules that have a weight in the files. */
  readonly stored: ReadonlySet<string>;
  /** True if experts stay as they are in tensors that hold all of a layer's. */
  readonly stacked: boolean;
}

/**
 * Every module that stays as it is, under the name that the files have and under the name that the loader gives it; none if
 * nothing is quantized. A tied output head is a Linear of the model although the file does not hold it, and has to be
 * listed too, else it is loaded as if it were quantized. So do experts in one tensor: vLLM asks for the scheme of single ones.
 */
export function listIgnored({ classes, recipe, ignored, quantized, stored, stacked }: IgnoreFacts): string[] {
  if (quantized.length === 0) return [];
  const named = (modules: readonly string[]) => [
    ...modules,
    ...modules.flatMap((module) => classes.loadedAs(module)),
  ];
  const patterns = wholeTowers(named(ignored), named(quantized));
  const isCovered = (name: string) => patterns.includes(patternOf(towerOf(name) ?? ""));
  const names = new Set(ignored);
  for (const module of ignored) {
    for (const name of classes.loadedAs(module)) if (!isCovered(name)) names.add(name);
  }
  if (groupsOf(recipe).some(({ targets }) => targets.includes("Linear")))
    for (const head of tiedHeads(classes, stored)) names.add(head);
  if (stacked && !quantized.some(isExpert)) names.add(EVERY_EXPERT);
  return [...names, ...patterns].toSorted();
}

/** Output heads that the files leave out; "lm_head" is what most loaders call one, whatever it is called in the files. */
export function tiedHeads(classes: LinearClasses, stored: ReadonlySet<string>): string[] {
  const loaded = new Set([...stored, ...[...stored].flatMap((module) => classes.loadedAs(module))]);
  const heads = classes.heads.filter((head) => !loaded.has(head));
  return loaded.has("lm_head") ? heads : [...new Set([...heads, "lm_head"])];
}

/**
 * Patterns for the towers that stay as they are: a loader may hold "vision_tower.…" as "model.vision_tower.…", and would
 * look for quantized weights in modules that no entry of the file's own names means. None for a tower of which a part is
 * quantized, or whose pattern means a quantized module of another ("audio_head" is in "text_audio_head.proj").
 */
export function wholeTowers(ignored: readonly string[], quantized: readonly string[]): string[] {
  const towers = new Set(ignored.map(towerOf).filter((tower) => tower !== null));
  return [...towers].filter((tower) => !quantized.some((name) => name.includes(tower))).map(patternOf);
}

export function patternOf(tower: string): string {
  return `re:.*${tower}.*`;
}
