// A recipe: what LLM Compressor's `QuantizationModifier` and `GPTQModifier` say, as plain data.

import type { QuantizationArgs, QuantizationScheme } from "./quantization-args.ts";

export interface ConfigGroup {
  /** Key in `config_groups`: "group_0", or the name that the recipe gives. */
  readonly name: string;
  /** Preset that the scheme came from unchanged, or null. */
  readonly preset: string | null;
  readonly scheme: QuantizationScheme;
  readonly targets: readonly string[];
}

export interface Recipe {
  readonly modifier: "QuantizationModifier";
  readonly groups: readonly ConfigGroup[];
  readonly ignore: readonly string[];
  readonly kv_cache_scheme: QuantizationArgs | null;
}

/** What is ignored when nobody says otherwise: the output head, which costs quality and saves little. */
export const DEFAULT_IGNORE: readonly string[] = ["lm_head"];
export const DEFAULT_TARGETS: readonly string[] = ["Linear"];
