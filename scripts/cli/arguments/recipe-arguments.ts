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
  | "push";

type RecipeValues = { readonly [Name in RecipeOption]?: string | undefined } & {
  readonly recipe?: string[] | undefined;
};

/** What one server runs, fused, whatever the mixture; closer to each other than 4 and 8 bits, which lose to 5 for all. */
const USUAL_SCHEMES = ["gptq-W3A16", "gptq-W4A16", "gptq-W5A16", "gptq-W6A16", "gptq-W8A16"];

/** All recipes; what is said of groups, observers and GPTQ holds for each of them. */
export function readRecipes(values: RecipeValues): AskedRecipes {
  const wanted = readWantedSize(values);
  const { recipe: names = wanted ? USUAL_SCHEMES : [], propagate } = values;
  const [first = "W4A16", ...more] = names;
  if (wanted && (more.length === 0 || propagate !== undefined))
    throw new UsageError(
      more.length === 0
        ? "--target-size chooses among recipes: name two at least, or none for 3, 4, 5, 6 and 8 bits by GPTQ."
        : "--propagate names one of several results; --target-size makes one.",
    );
  const folders = more.length > 0 && !wanted ? names.map(folderName) : [];
  const twice = folders.find((name, index) => folders.indexOf(name) !== index);
  if (twice !== undefined)
    throw new UsageError(`Two recipes would be written into the folder ${twice}. Give files other names.`);
  if (folders.length > 0 && values.push !== undefined)
    throw new UsageError(
      "--push publishes one result. Ask for one recipe, or publish the folders afterwards.",
    );
  return {
    recipe: readRecipe(values, first),
    beside: more.map((name) => readRecipe(values, name)),
    folders,
    wanted,
    along: propagate === undefined ? null : readRecipe(values, propagate),
  };
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
