import { RecipeError } from "../../../errors.ts";
import { DEFAULT_IGNORE } from "../../../formats/modifiers/default-ignore.ts";
import { nearestWord } from "../../../formats/text/nearest-word.ts";
import { readScheme, SCHEMES, UNQUANTIZED } from "./read-scheme.ts";
import { BEST_PREFIX, BEST_SCHEMES, bestRecipe } from "../../../formats/modifiers/best.ts";
import { GPTQ_ACTORDER, GPTQ_SETTINGS } from "../../../formats/modifiers/gptq.ts";
import { type Quantizer, type QuantizerName, QUANTIZERS } from "../../../formats/modifiers/quantizers.ts";
import { type Rewriter, REWRITERS } from "../../../formats/modifiers/rewriters.ts";
import { ROUNDING } from "../../../formats/modifiers/rounding.ts";
import type { MethodControls, RecipeChoice, RecipeControls } from "../../../api/job-options.ts";

/** Each method as it stands before anybody touches it. */
export const METHOD_DEFAULTS: { readonly [Name in QuantizerName]: Extract<MethodControls, { name: Name }> } =
  {
    QuantizationModifier: { name: "QuantizationModifier" },
    GPTQModifier: {
      name: "GPTQModifier",
      dampening_frac: GPTQ_SETTINGS.dampening_frac,
      actorder: GPTQ_ACTORDER,
    },
  };
/** Words that ask for the best of a preset. */
const BEST_NAMES = BEST_SCHEMES.map((scheme) => BEST_PREFIX + scheme);

/** Every quantized weight as a plain one. */
export const DEQUANTIZE: RecipeControls = {
  kind: "controls",
  scheme: UNQUANTIZED,
  group_size: null,
  ignore: [],
  method: { name: "QuantizationModifier" },
  observer: "memoryless_minmax",
};

/**
 * What a recipe means that is written in one piece, in a link or on a command line: the name of a preset ("W4A16"), GPTQ
 * over one ("gptq-w4a16"), either behind SmoothQuant or AWQ ("smoothquant-gptq-w8a8", "awq-w4a16"), or what pays at few bits ("best-w4a16"), all in
 * any case, UNQUANTIZED, which dequantizes, or, if it has a colon, which no name has, LLM Compressor's YAML.
 * @throws RecipeError for a name that is none, with the nearest one that is.
 */
export function readRecipeChoice(text: string): RecipeChoice {
  const name = text.trim();
  if (/[\n:]/.test(name)) return { kind: "yaml", text };
  if (name.toUpperCase() === UNQUANTIZED) return DEQUANTIZE;
  const best = bestNamed(name);
  if (best !== null) return { kind: "yaml", text: bestRecipe(best) };
  const rewriter = REWRITERS.find(({ prefix }) => name.toLowerCase().startsWith(prefix)) ?? null;
  const rest = name.slice(rewriter?.prefix.length ?? 0);
  const quantizer = quantizerNamedIn(rest);
  const scheme = rest.slice(quantizer.prefix.length).toUpperCase();
  if (!SCHEMES.includes(scheme)) throw unknownRecipe(name, quantizer, rewriter);
  const problem = refusalOf(quantizer, scheme) ?? (rewriter && rewriterRefusal(rewriter, scheme));
  if (problem !== null)
    throw new RecipeError(`The recipe “${name}” does not exist: ${problem}. Ask for ${scheme} alone.`);
  return {
    kind: "controls",
    scheme,
    group_size: null,
    ignore: DEFAULT_IGNORE,
    method: METHOD_DEFAULTS[quantizer.name],
    ...(rewriter ? { rewriter: rewriter.name } : {}),
    observer: "memoryless_minmax",
  };
}

/** The preset whose best recipe a name asks for, or null. */
export function bestNamed(name: string): string | null {
  const place = BEST_NAMES.findIndex((word) => word.toLowerCase() === name.trim().toLowerCase());
  return BEST_SCHEMES[place] ?? null;
}

/** Why a quantizer cannot choose codes of a preset's weights; null if it can. */
export function refusalOf(quantizer: Quantizer, scheme: string): string | null {
  const facts = readScheme(scheme);
  return facts && quantizer.refuses({ type: facts.integer ? "int" : "float", num_bits: facts.weightBits });
}

/** Why a rewriter's defaults cannot prepare a preset's weights; null if they can. */
export function rewriterRefusal(rewriter: Rewriter, scheme: string): string | null {
  const facts = readScheme(scheme);
  return facts && rewriter.refuses({ strategy: facts.oneScale ? "tensor" : "group" });
}

/** The quantizer whose prefix the recipe has: the longest that fits. */
function quantizerNamedIn(name: string): Quantizer {
  const fitting = QUANTIZERS.filter(({ prefix }) => name.toLowerCase().startsWith(prefix));
  return fitting.toSorted((a, b) => b.prefix.length - a.prefix.length)[0] ?? ROUNDING;
}

function unknownRecipe(name: string, quantizer: Quantizer, rewriter: Rewriter | null): RecipeError {
  const prefix = rewriter?.prefix ?? "";
  const own = quantizer.prefix === "" ? QUANTIZERS.flatMap(namesWith) : namesWith(quantizer);
  const words = [
    ...(prefix + quantizer.prefix === "" ? [UNQUANTIZED, ...BEST_NAMES] : []),
    ...own.map((word) => prefix + word),
  ];
  const near = nearestWord(name, words);
  const advice = near ? `The nearest one is ${near}.` : "W4A16 and gptq-W4A16 are two that do.";
  return new RecipeError(`The recipe “${name.slice(0, 64)}” does not exist. ${advice}`);
}

function namesWith(quantizer: Quantizer): string[] {
  return SCHEMES.filter((scheme) => refusalOf(quantizer, scheme) === null).map(
    (scheme) => quantizer.prefix + scheme,
  );
}
