// The recipe that a result carries: it ignores by name what targets mean and a default leaves as it is, so that another tool
// that is given it quantizes the same modules.

import { type QuantizingModifier, isRewriting, type Recipe } from "../../formats/recipe/recipe.ts";
import type { LinearClasses } from "../../model/linear-classes.ts";
import { EVERY_EXPERT, isExpert } from "../notes/expert-notes.ts";
import { isRouter, towerOf } from "../checkpoint/find-linears.ts";
import { type IgnoreFacts, patternOf, tiedHeads, wholeTowers } from "./list-ignored.ts";
import { isListed, isNamed, isTargeted } from "../targets/match-targets.ts";
import { listSome } from "../../formats/text/list-some.ts";

const KINDS = ["router", "tower", "experts", "head", "other"] as const;
type Kind = (typeof KINDS)[number];
const SHOWN = 4;

/** What a default leaves out of what the recipe's targets mean. */
interface LeftOut {
  readonly kind: Kind;
  /** What `ignore` says of it: names, or patterns that mean no quantized module. */
  readonly entries: readonly string[];
}

export interface CompleteRecipe {
  readonly recipe: Recipe;
  /** What was added to `ignore` and why, in a sentence; null if nothing was. */
  readonly note: string | null;
}

/** Linears of one expert, by the names that loaders give them where the files hold one tensor. */
const SINGLE_EXPERT = ["gate_proj", "up_proj", "down_proj"].map(
  (name) => `model.layers.0.mlp.experts.0.${name}`,
);

/** What follows a layer's number, of at most MAX_PARTS parts. */
const PART_OF_LAYER = /\.\d+((?:\.[A-Za-z_]\w*){1,8})$/;
const MAX_PARTS = 8;

const REASONS: Readonly<Record<Kind, string>> = {
  router: "routers and gates of experts, which vLLM has no quantized Linear for",
  tower: "encoders of other modalities, of which a recipe can name what it wants",
  experts: "experts that lie in one tensor, which transformers loads in that form alone",
  head: "output heads, which share the embedding's weight or are ignored as lm_head",
  other: "weights that have no numbers to quantize, or that loaders split",
};

/** Adds to each modifier's `ignore` what its targets mean and the plan leaves as it is. The plan of either recipe is the same. */
export function completeRecipe(facts: IgnoreFacts): CompleteRecipe {
  if (facts.quantized.length === 0) return { recipe: facts.recipe, note: null };
  const found: LeftOut[] = [];
  const modifiers = facts.recipe.modifiers.map((modifier) => {
    if (isRewriting(modifier)) return modifier;
    const left = leftOut(modifier, facts);
    found.push(...left);
    const added = [...new Set(left.flatMap(({ entries }) => entries))].toSorted();
    return added.length === 0 ? modifier : { ...modifier, ignore: [...modifier.ignore, ...added] };
  });
  return { recipe: { ...facts.recipe, modifiers }, note: noteOf(found) };
}

function leftOut(modifier: QuantizingModifier, facts: IgnoreFacts): LeftOut[] {
  const { classes, ignored, quantized, stored, stacked } = facts;
  const taken = quantized.flatMap((module) => [module, ...classes.loadedAs(module)]);
  const loaded = ignored.flatMap((module) => classes.loadedAs(module));
  const towers = wholeTowers([...ignored, ...loaded], taken);
  const takenEnds = new Set(taken.flatMap(endsOf));
  const left = ignored.flatMap((module): LeftOut[] => {
    const names = classes
      .loadedAs(module)
      .filter((name) => isOpen(name, modifier, couldBeLinear(module, classes)));
    if (names.length === 0) return [];
    return [{ kind: kindOf(module), entries: names.map((name) => entryFor(name, towers, takenEnds)) }];
  });
  const heads = tiedHeads(classes, stored).filter((head) => isOpen(head, modifier, true));
  if (heads.length > 0) left.push({ kind: "head", entries: heads });
  if (stacked && !quantized.some(isExpert) && SINGLE_EXPERT.some((name) => isOpen(name, modifier, true)))
    left.push({ kind: "experts", entries: [EVERY_EXPERT] });
  return left;
}

/** True if the modifier's targets mean a module, by its class only where it has that of a Linear, and its `ignore` does not. */
function isOpen(name: string, { groups, ignore }: QuantizingModifier, isLinear: boolean): boolean {
  if (isListed(name, ignore)) return false;
  const weighing = groups.filter(({ scheme }) => scheme.weights !== null);
  return weighing.some((group) => (isLinear ? isTargeted(name, group) : isNamed(name, group)));
}

/**
 * Routers are Linears in some releases of transformers and tensors of their own in others. The table knows no towers that a
 * type's default configuration leaves out.
 */
function couldBeLinear(module: string, classes: LinearClasses): boolean {
  const known = classes.classOf(module);
  if (known === null) return !classes.complete || towerOf(module) !== null;
  return known === "linear" || known === "converted" || isRouter(module);
}

function kindOf(module: string): Kind {
  if (isRouter(module)) return "router";
  if (towerOf(module) !== null) return "tower";
  return /(^|\.)(lm_head|embed_out)$/.test(module) ? "head" : "other";
}

/** ".layers.0.mlp.up_proj", ".0.mlp.up_proj", ".mlp.up_proj", ".up_proj": all that a pattern's part could be. */
function endsOf(name: string): string[] {
  const parts = name.split(".").slice(1).slice(-MAX_PARTS);
  return parts.map((_, first) => `.${parts.slice(first).join(".")}`);
}

/** A tower's pattern, or one that means the same part of every layer, where it means no quantized module; else the name. */
function entryFor(name: string, towers: readonly string[], takenEnds: ReadonlySet<string>): string {
  const tower = patternOf(towerOf(name) ?? "");
  if (towers.includes(tower)) return tower;
  const part = PART_OF_LAYER.exec(name)?.[1];
  if (part === undefined || takenEnds.has(part)) return name;
  return `re:.*${part.replaceAll(".", "\\.")}$`;
}

function noteOf(found: readonly LeftOut[]): string | null {
  const parts = KINDS.flatMap((kind) => {
    const entries = [
      ...new Set(found.flatMap((left) => (left.kind === kind ? left.entries : []))),
    ].toSorted();
    return entries.length === 0 ? [] : [`${REASONS[kind]} (${listSome(entries, SHOWN)})`];
  });
  if (parts.length === 0) return null;
  return `Some of what the targets mean stays as it is: ${parts.join("; ")}. The result's recipe names it in ignore.`;
}
