// A recipe: what LLM Compressor's modifiers say, as plain data.

import type { GptqSettings } from "./modifiers/gptq.ts";
import { type QuantizerName, quantizerOf } from "./modifiers/quantizers.ts";
import type { SpinQuantSettings } from "./modifiers/spinquant.ts";
import {
  isStaticActivation,
  type QuantizationArgs,
  type QuantizationScheme,
  usesImportance,
} from "./quantization-args.ts";

export interface ConfigGroup {
  /** Key in `config_groups`: "group_0", or the name that the recipe gives. */
  readonly name: string;
  /** Preset that the scheme came from unchanged, or null. */
  readonly preset: string | null;
  readonly scheme: QuantizationScheme;
  readonly targets: readonly string[];
}

/** What all modifiers have that choose codes. An `actorder` stands in the weight arguments of the groups, as in config.json. */
interface Quantizing<Name extends QuantizerName> {
  readonly name: Name;
  readonly groups: readonly ConfigGroup[];
  readonly ignore: readonly string[];
  readonly kv_cache_scheme: QuantizationArgs | null;
}

export type RoundingModifier = Quantizing<"QuantizationModifier">;
export type GptqModifier = Quantizing<"GPTQModifier"> & { readonly settings: GptqSettings };

/** One modifier of a recipe. */
export type QuantizingModifier = RoundingModifier | GptqModifier;

export interface Recipe {
  /** What the whole model goes through before anything is quantized; absent where nothing is rotated. */
  readonly rotation?: SpinQuantSettings;
  /** In the recipe's order; where two target a module, the later one has it. */
  readonly modifiers: readonly QuantizingModifier[];
}

/** What is ignored when nobody says otherwise: the output head, which costs quality and saves little. */
export const DEFAULT_IGNORE: readonly string[] = ["lm_head"];
export const DEFAULT_TARGETS: readonly string[] = ["Linear"];

/** The groups of all modifiers. */
export function groupsOf(recipe: Recipe): readonly ConfigGroup[] {
  return recipe.modifiers.flatMap((modifier) => modifier.groups);
}

/** True for the preset UNQUANTIZED alone: low-precision sources are written as bfloat16. */
export function quantizesNothing(recipe: Recipe): boolean {
  const groups = groupsOf(recipe);
  return groups.length > 0 && groups.every(({ scheme }) => scheme.weights === null);
}

/** The key-value cache's arguments; the last modifier that has some says them. */
export function kvCacheScheme(recipe: Recipe): QuantizationArgs | null {
  return recipe.modifiers.findLast((modifier) => modifier.kv_cache_scheme)?.kv_cache_scheme ?? null;
}

/** True if the recipe needs a text: for what chooses codes or ranges, for activation scales, or for the cache's scales. */
export function needsCalibration(recipe: Recipe): boolean {
  return (
    recipe.modifiers.some(
      ({ name, kv_cache_scheme }) => quantizerOf(name).calibrates || kv_cache_scheme !== null,
    ) ||
    groupsOf(recipe).some(
      ({ scheme }) => isStaticActivation(scheme.input_activations) || usesImportance(scheme.weights),
    )
  );
}
