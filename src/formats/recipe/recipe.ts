// A recipe: what LLM Compressor's modifiers say, as plain data.

import type { AwqSettings } from "../modifiers/awq.ts";
import type { GptqSettings, RoundingSettings } from "../modifiers/gptq.ts";
import { type QuantizerName, quantizerOf } from "../modifiers/quantizers.ts";
import { REWRITERS, type RewriterName } from "../modifiers/rewriters.ts";
import type { SmoothQuantSettings } from "../modifiers/smoothquant.ts";
import type { SpinQuantSettings } from "../modifiers/spinquant.ts";
import {
  isStaticActivation,
  type QuantizationArgs,
  type QuantizationScheme,
  usesImportance,
} from "../schemes/quantization-args.ts";

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

/** Rounding to nearest; with `settings` its codes and scales are refined by what a text's activations are. */
export type RoundingModifier = Quantizing<"QuantizationModifier"> & { readonly settings?: RoundingSettings };
export type GptqModifier = Quantizing<"GPTQModifier"> & { readonly settings: GptqSettings };

/** A modifier that chooses codes. */
export type QuantizingModifier = RoundingModifier | GptqModifier;

/** What gives out less, and what reads it and makes up for that: names or patterns of modules. */
export interface MappingTargets {
  readonly smooth_layer: string;
  readonly balance_layers: readonly string[];
}

/** What all modifiers have that move factors between tensors. */
interface Rewriting<Name extends RewriterName> {
  readonly name: Name;
  /** Null takes those of the model's family. */
  readonly mappings: readonly MappingTargets[] | null;
  /** A mapping is left out if all of its modules are ignored. */
  readonly ignore: readonly string[];
}

export type SmoothQuantModifier = Rewriting<"SmoothQuantModifier"> & {
  readonly settings: SmoothQuantSettings;
};

export type AwqModifier = Rewriting<"AWQModifier"> & { readonly settings: AwqSettings };

/** A modifier that changes weights, and not what the model computes, before codes are chosen. */
export type RewritingModifier = SmoothQuantModifier | AwqModifier;

export type Modifier = QuantizingModifier | RewritingModifier;

export interface Recipe {
  /** What the whole model goes through before anything is quantized; absent where nothing is rotated. */
  readonly rotation?: SpinQuantSettings;
  /** In the recipe's order; where two that choose codes target a module, the later one has it. */
  readonly modifiers: readonly Modifier[];
}

export function isRewriting(modifier: Modifier): modifier is RewritingModifier {
  return REWRITERS.some(({ name }) => name === modifier.name);
}

/** Those of a recipe's modifiers that choose codes, in their order. */
export function quantizingModifiers({ modifiers }: Recipe): readonly QuantizingModifier[] {
  return modifiers.filter((modifier) => !isRewriting(modifier));
}

/** Those that change weights before, in their order. */
export function rewritingModifiers({ modifiers }: Recipe): readonly RewritingModifier[] {
  return modifiers.filter(isRewriting);
}

/** What is ignored when nobody says otherwise: the output head, which costs quality and saves little. */
export const DEFAULT_IGNORE: readonly string[] = ["lm_head"];
export const DEFAULT_TARGETS: readonly string[] = ["Linear"];

/** The groups of all modifiers. */
export function groupsOf(recipe: Recipe): readonly ConfigGroup[] {
  return quantizingModifiers(recipe).flatMap((modifier) => modifier.groups);
}

/** True for the preset UNQUANTIZED alone: low-precision sources are written as bfloat16. */
export function quantizesNothing(recipe: Recipe): boolean {
  const groups = groupsOf(recipe);
  return groups.length > 0 && groups.every(({ scheme }) => scheme.weights === null);
}

/** The key-value cache's arguments; the last modifier that has some says them. */
export function kvCacheScheme(recipe: Recipe): QuantizationArgs | null {
  return (
    quantizingModifiers(recipe).findLast((modifier) => modifier.kv_cache_scheme)?.kv_cache_scheme ?? null
  );
}

/** True if codes are chosen by what a text's activations are, so that later layers see what they have become. */
export function choosesByText(modifier: QuantizingModifier): boolean {
  return quantizerOf(modifier.name).calibrates || modifier.settings?.refine !== undefined;
}

/** The share of the inputs' drift that a modifier's codes make up for; 0 for none. */
export function driftShare(modifier: QuantizingModifier): number {
  return modifier.name === "GPTQModifier" ? (modifier.settings.drift ?? 0) : 0;
}

/** True if the recipe needs a text: for what moves factors, chooses codes or ranges, for activation scales, or for the cache's. */
export function needsCalibration(recipe: Recipe): boolean {
  return (
    recipe.modifiers.some(
      (modifier) => isRewriting(modifier) || choosesByText(modifier) || modifier.kv_cache_scheme !== null,
    ) ||
    groupsOf(recipe).some(
      ({ scheme }) => isStaticActivation(scheme.input_activations) || usesImportance(scheme.weights),
    )
  );
}
