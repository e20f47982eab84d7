// A job as a link: the command line's options as parameters of the page's address. A link is written by strangers: it fills in
// the form, and what it asks for is checked as a script's request is.

import { RecipeError } from "../../../errors.ts";
import {
  requestedCalibration,
  requestedRecipe,
  USUAL_CALIBRATION,
} from "../../../formats/recipe/requested-options.ts";
import { FORWARD_PRODUCTS } from "../../../formats/recipe/forward-products.ts";
import { listedNames } from "../../../formats/recipe/listed-names.ts";
import { AWQ_LOSSES } from "../../../formats/modifiers/awq.ts";
import { WEIGHT_OBSERVERS } from "../../../formats/schemes/quantization-args.ts";
import type { JobOptions } from "../../../api/job-options.ts";
import type { CalibrationRequest, RecipeRequest } from "../../../api/script-api.ts";
import {
  EXPERT_TOKENS_RANGE,
  LENGTH_RANGE,
  SAMPLES_RANGE,
  SEED_RANGE,
} from "../fields/calibration-fields.ts";
import { DAMPENING_RANGE } from "../recipe/recipe-fields.ts";
import { type NumberRange, readNumber } from "../fields/read-number.ts";

/** Longer links are refused by servers and cut by programs that send them. */
const MAX_LINK_LENGTH = 8_000;
const MAX_PARAMETER_LENGTH = 4_000;
const GROUP_SIZE_RANGE: NumberRange = { min: 1, max: 1_000_000, whole: true };
const DEFAULT_RECIPE = "W4A16";

export interface LinkedJob {
  readonly recipe: RecipeRequest;
  readonly calibration: CalibrationRequest;
}

const RECIPE_OPTIONS = [
  "recipe",
  "group-size",
  "ignore",
  "observer",
  "dampening-frac",
  "actorder",
  "awq-loss",
] as const;
const CALIBRATION_OPTIONS = [
  "dataset",
  "config",
  "split",
  "column",
  "samples",
  "max-seq-length",
  "seed",
  "no-shuffle",
  "no-propagate-error",
  "routed-experts-only",
  "min-expert-tokens",
  "hidden-states",
  "forward-products",
] as const;
const OPTIONS: readonly string[] = [...RECIPE_OPTIONS, ...CALIBRATION_OPTIONS];
/** Options of the command line that change the result, too, and that no link carries out. */
const ELSEWHERE = [
  "calibration",
  "replay",
  "target-size",
  "target-bits",
  "propagate",
  "layers",
  "states-at",
  "samples-of",
  "from-states",
  "share",
] as const;

/**
 * The options of a link, or null if it has none.
 * @throws RecipeError for a value that none of the controls could have
 */
export function readLinkedJob(search: string): LinkedJob | null {
  const parameters = new URLSearchParams(search);
  const elsewhere = ELSEWHERE.find((name) => parameters.has(name));
  if (elsewhere !== undefined)
    throw new RecipeError(
      `${elsewhere} is an option of the command line that no link can have: a link asks for one whole model by one recipe, and texts of a disk are chosen by hand.`,
    );
  const twice = OPTIONS.find((name) => parameters.getAll(name).length > 1);
  if (twice !== undefined)
    throw new RecipeError(`The link names ${twice} twice, and one can count. Leave the other out.`);
  if (!OPTIONS.some((name) => parameters.get(name)?.trim())) return null;
  const text = (name: string): string | null => {
    const value = parameters.get(name)?.trim() || null;
    if (value !== null && value.length > MAX_PARAMETER_LENGTH)
      throw new RecipeError(`${name} is longer than a link can say.`);
    return value;
  };
  const read = { text, ...readers(text) };
  return {
    recipe: {
      text: text("recipe") ?? DEFAULT_RECIPE,
      groupSize: read.number("group-size", GROUP_SIZE_RANGE),
      ignore: listedNames(text("ignore")),
      observer: read.oneOf("observer", WEIGHT_OBSERVERS),
      dampeningFrac: read.number("dampening-frac", DAMPENING_RANGE),
      actorder: read.oneOf("actorder", ["static", "group", "none"]),
      ...(text("awq-loss") === null ? {} : { awqLoss: read.oneOf("awq-loss", AWQ_LOSSES) }),
    },
    calibration: readCalibration(read),
  };
}

type Readers = ReturnType<typeof readers> & { readonly text: (name: string) => string | null };

function readers(text: (name: string) => string | null) {
  return {
    number: (name: string, range: NumberRange): number | null => {
      const typed = text(name);
      const value = typed === null ? null : readNumber(typed, range);
      if (typed !== null && value === null)
        throw new RecipeError(
          `${name}=${typed.slice(0, 64)} is not a ${range.whole ? "whole " : ""}number from ${range.min} to ${range.max}.`,
        );
      return value;
    },
    flag: (name: string): boolean => {
      const typed = text(name);
      if (typed !== null && typed !== "yes")
        throw new RecipeError(
          `${name}=${typed.slice(0, 64)} is not ${name}=yes. Leave it out for the other.`,
        );
      return typed !== null;
    },
    oneOf: <Word extends string>(name: string, words: readonly Word[]): Word | null => {
      const typed = text(name);
      const word = words.find((candidate) => candidate === typed) ?? null;
      if (typed !== null && word === null)
        throw new RecipeError(`${name}=${typed.slice(0, 64)} is none of ${words.join(", ")}.`);
      return word;
    },
  };
}

function readCalibration({ text, number, oneOf, flag }: Readers): CalibrationRequest {
  const [name, split] = [text("dataset"), text("split")];
  const idle = (["config", "split", "column"] as const).find((of) => name === null && text(of) !== null);
  if (idle !== undefined)
    throw new RecipeError(`${idle} says what of a data set is taken, and the link names no dataset.`);
  return {
    ...USUAL_CALIBRATION,
    dataset:
      name === null
        ? null
        : { name, config: text("config"), split: split ?? "train", column: text("column") },
    samples: number("samples", SAMPLES_RANGE),
    maxSeqLength: number("max-seq-length", LENGTH_RANGE),
    seed: number("seed", SEED_RANGE),
    shuffle: !flag("no-shuffle"),
    propagateError: !flag("no-propagate-error"),
    allExperts: !flag("routed-experts-only"),
    minExpertTokens: number("min-expert-tokens", EXPERT_TOKENS_RANGE),
    hiddenStates: oneOf("hidden-states", ["F32", "BF16"]) ?? "F32",
    forwardProducts: oneOf("forward-products", FORWARD_PRODUCTS) ?? "AUTO",
  };
}

/**
 * A link to this page with a job filled in: what changes the result, not what suits one machine, such as its GPU budget. Of an
 * address the query is left out, which may hold a secret.
 * @param address null for files, which no link can name
 * @param calibrates true if the plan uses a text; a file that it comes from cannot be named either
 * @returns null if the recipe is too long for a link
 */
export function jobLink(
  pageUrl: string,
  address: string | null,
  { recipe, calibration }: JobOptions,
  calibrates: boolean,
): string | null {
  const asked = requestedRecipe(recipe);
  const parameters: (readonly [string, string | number | null])[] = [
    ["model", address?.split(/[?#]/, 1)[0] ?? null],
    ["recipe", asked.text],
    ["group-size", asked.groupSize],
    ["ignore", asked.ignore && asked.ignore.join(",")],
    ["observer", asked.observer],
    ["dampening-frac", asked.dampeningFrac],
    ["actorder", asked.actorder],
    ["awq-loss", asked.awqLoss ?? null],
    ...(calibrates ? calibrationParameters(requestedCalibration(recipe, calibration)) : []),
  ];
  const link = new URL(pageUrl);
  link.hash = "";
  const given = parameters.flatMap(([name, value]) => (value === null ? [] : [[name, String(value)]]));
  // What a query may hold as it is, a person can read.
  link.search = new URLSearchParams(given)
    .toString()
    .replaceAll("%2F", "/")
    .replaceAll("%3A", ":")
    .replaceAll("%2C", ",")
    .replaceAll("%40", "@");
  return link.href.length > MAX_LINK_LENGTH || asked.text.length > MAX_PARAMETER_LENGTH ? null : link.href;
}

function calibrationParameters(asked: CalibrationRequest): (readonly [string, string | number | null])[] {
  const { dataset } = asked;
  const flag = (set: boolean) => (set ? "yes" : null);
  return [
    ["dataset", dataset?.name ?? null],
    ["config", dataset?.config ?? null],
    ["split", dataset?.split ?? null],
    ["column", dataset?.column ?? null],
    ["samples", asked.samples],
    ["max-seq-length", asked.maxSeqLength],
    ["seed", asked.seed],
    ["no-shuffle", flag(!asked.shuffle)],
    ["no-propagate-error", flag(!asked.propagateError)],
    ["routed-experts-only", flag(!asked.allExperts)],
    ["min-expert-tokens", asked.minExpertTokens],
    ["hidden-states", asked.hiddenStates === "F32" ? null : asked.hiddenStates],
    ["forward-products", asked.forwardProducts === "AUTO" ? null : asked.forwardProducts],
  ];
}
