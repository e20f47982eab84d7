// Options of `npm run compress` that say what a model becomes: one recipe, several, or a size.

import { basename } from "node:path";
import type { RecipeRequest } from "../../../src/api/script-api.ts";
import { AWQ_LOSSES } from "../../../src/formats/modifiers/awq.ts";
import { listedNames } from "../../../src/formats/recipe/listed-names.ts";
import { WEIGHT_OBSERVERS } from "../../../src/formats/schemes/quantization-args.ts";
import { fraction, oneOf, readText, UsageError, wholeNumber } from "./argument-readers.ts";
import { readWantedSize, type WantedSize } from "./wanted-size.ts";

export interface AskedRecipes {
  readonly recipe: RecipeRequest;
  /** More recipes of the same run; none for one result, which lies in `out` itself. */
  readonly beside: readonly RecipeRequest[];
  /** Folders of the results in `out`, by recipe; empty for one result. */
  readonly folders: readonly string[];
  /** What the weights may take, of a scheme chosen for each module from the recipes; null where each makes a result. */
  readonly wanted: WantedSize | null;
  /** The recipe whose error later layers see, if one is named. */
  readonly along: RecipeRequest | null;
}

/** Options that ask for less than the whole job of one command. */
const DIVIDING = ["layers", "states-at", "share", "plan"] as const;

type RecipeOption =
  | "propagate"
  | "target-size"
  | "target-bits"
  | "group-size"
  | "ignore"
  | "observer"
  | "dampening-frac"
  | "actorder"
  | "awq-loss"
  | "push"
  | Exclude<(typeof DIVIDING)[number], "plan">;

type RecipeValues = { readonly [Name in RecipeOption]?: string | undefined } & {
  readonly recipe?: string[] | undefined;
  readonly plan: boolean;
};

/** What one server runs, fused, whatever the mixture; closer to each other than 4 and 8 bits, which lose to 5 for all. */
const USUAL_SCHEMES = ["gptq-W3A16", "gptq-W4A16", "gptq-W5A16", "gptq-W6A16", "gptq-W8A16"];

/** All recipes; what is said of groups, observers and GPTQ holds for each of them. */
export function readRecipes(values: RecipeValues): AskedRecipes {
  const wanted = readWantedSize(values);
  const { recipe: names = wanted ? USUAL_SCHEMES : [], propagate } = values;
  const [first = "W4A16", ...more] = names;
  if (wanted) checkWanted(names, values);
  else checkTogether(names, values);
  return {
    recipe: readRecipe(values, first),
    beside: more.map((name) => readRecipe(values, name)),
    folders: more.length > 0 && !wanted ? readFolders(names) : [],
    wanted,
    along: propagate === undefined ? null : readRecipe(values, propagate),
  };
}

/** @throws UsageError if the candidates make no choice, or something is asked of more results than one */
function checkWanted(candidates: readonly string[], values: RecipeValues): void {
  if (candidates.length < 2)
    throw new UsageError(
      "A size is chosen among recipes: name two at least, or none for 3, 4, 5, 6 and 8 bits by GPTQ.",
    );
  if (values.propagate !== undefined)
    throw new UsageError("--propagate names one of several results; of a wanted size, one is made.");
  const dividing = DIVIDING.find((option) => values[option]);
  if (dividing !== undefined)
    throw new UsageError(
      `--${dividing} divides a job whose recipe is known, and a wanted size is measured on the whole model. Leave --${dividing} out, or name the recipe.yaml of a result of that size by --recipe.`,
    );
}

/** @throws UsageError if something is asked of several results that one alone can have, or the other way round */
function checkTogether(names: readonly string[], values: RecipeValues): void {
  const { propagate, push } = values;
  if (
    propagate !== undefined &&
    (names.length < 2 || !inSmallLetters(names).includes(propagate.toLowerCase()))
  )
    throw new UsageError(
      `--propagate ${propagate} names none of several results. Name one of the recipes that are given by --recipe, two at least.`,
    );
  if (names.length < 2) return;
  const dividing = DIVIDING.find((option) => values[option]);
  if (dividing !== undefined)
    throw new UsageError(
      `--${dividing} divides the job of one recipe. Ask for each recipe in a job of its own.`,
    );
  if (push !== undefined)
    throw new UsageError(
      "--push publishes one result. Ask for one recipe, or publish the folders afterwards.",
    );
}

/** @throws UsageError if two are the same, also to disks that do not tell W4A16 from w4a16 */
function readFolders(recipes: readonly string[]): string[] {
  const folders = recipes.map(folderName);
  const places = inSmallLetters(folders);
  const twice = folders.find((_, index) => places.indexOf(places[index] ?? "") !== index);
  if (twice === undefined) return folders;
  throw new UsageError(`Two recipes would be written into the folder ${twice}. Give files other names.`);
}

function inSmallLetters(names: readonly string[]): string[] {
  return names.map((name) => name.toLowerCase());
}

/** "gptq-W4A16"; of a file, its name without the ending. */
function folderName(recipe: string): string {
  if (/[\n:]/.test(recipe))
    throw new UsageError(
      "Beside other recipes, one in YAML has to be a file: its result lies in a folder of that name.",
    );
  return basename(recipe).replace(/\.ya?ml$/i, "");
}

function readRecipe(values: RecipeValues, recipe: string): RecipeRequest {
  const isFile = /\.ya?ml$/i.test(recipe);
  return {
    text: isFile ? readText(recipe, "--recipe") : recipe,
    groupSize: wholeNumber(values, "group-size"),
    ignore: listedNames(values.ignore ?? null),
    observer: oneOf(values.observer, "observer", WEIGHT_OBSERVERS),
    dampeningFrac: fraction(values["dampening-frac"]),
    actorder: oneOf(values.actorder, "actorder", ["static", "group", "none"]),
    awqLoss: oneOf(values["awq-loss"], "awq-loss", AWQ_LOSSES),
  };
}
