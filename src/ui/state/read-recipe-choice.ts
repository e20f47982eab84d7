import { RecipeError } from "../../errors.ts";
import { nearestWord } from "../../formats/nearest-word.ts";
import { readScheme, SCHEMES, UNQUANTIZED } from "./read-scheme.ts";
import type { GptqControls, RecipeChoice, RecipeControls } from "../../api/job-options.ts";

const GPTQ_PREFIX = "gptq-";

/** LLM Compressor's defaults. */
export const GPTQ_DEFAULTS: GptqControls = { dampening_frac: 0.01, actorder: "static" };
export const DEFAULT_IGNORE: readonly string[] = ["lm_head"];

/** Every quantized weight as a plain one. */
export const DEQUANTIZE: RecipeControls = {
  kind: "controls",
  scheme: UNQUANTIZED,
  group_size: null,
  ignore: [],
  gptq: null,
  observer: "memoryless_minmax",
};

/**
 * What a recipe means that is written in one piece, in a link or on a command line: the name of a preset ("W4A16"), GPTQ
 * over one ("gptq-w4a16"), both in any case, UNQUANTIZED, which dequantizes, or, if it has a colon, which no name has, LLM
 * Compressor's YAML.
 * @throws RecipeError for a name that is none, with the nearest one that is.
 */
export function readRecipeChoice(text: string): RecipeChoice {
  const name = text.trim();
  if (/[\n:]/.test(name)) return { kind: "yaml", text };
  if (name.toUpperCase() === UNQUANTIZED) return DEQUANTIZE;
  const usesGptq = name.toLowerCase().startsWith(GPTQ_PREFIX);
  const scheme = (usesGptq ? name.slice(GPTQ_PREFIX.length) : name).toUpperCase();
  if (!SCHEMES.includes(scheme)) throw unknownRecipe(name, usesGptq);
  if (usesGptq && !readScheme(scheme)?.integer)
    throw new RecipeError(
      `The recipe “${name}” does not exist: GPTQ chooses among integers, and the weights of ${scheme} are floats. Ask for ${scheme} alone.`,
    );
  return {
    kind: "controls",
    scheme,
    group_size: null,
    ignore: DEFAULT_IGNORE,
    gptq: usesGptq ? GPTQ_DEFAULTS : null,
    observer: "memoryless_minmax",
  };
}

function unknownRecipe(name: string, usesGptq: boolean): RecipeError {
  const words = usesGptq ? gptqNames() : [...SCHEMES, UNQUANTIZED, ...gptqNames()];
  const near = nearestWord(name, words);
  const advice = near ? `The nearest one is ${near}.` : "W4A16 and gptq-W4A16 are two that do.";
  return new RecipeError(`The recipe “${name.slice(0, 64)}” does not exist. ${advice}`);
}

function gptqNames(): string[] {
  return SCHEMES.filter((scheme) => readScheme(scheme)?.integer).map((scheme) => GPTQ_PREFIX + scheme);
}
