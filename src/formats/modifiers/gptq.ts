import type { ActorderSetting, QuantizationArgs } from "../schemes/quantization-args.ts";
import type { QuantizerVocabulary } from "./vocabulary.ts";

/** What `GPTQModifier` has beyond rounding to nearest (`modifiers/gptq/base.py`); its actorder stands in the weight arguments. */
export interface GptqSettings {
  readonly block_size: number;
  readonly dampening_frac: number;
  /** This program's own: codes and scales are made to fit the layer better once all are chosen. Absent for plain GPTQ. */
  readonly refine?: RefineSettings;
  /**
   * This program's own: the share, above 0 and at most 1, of what earlier layers' errors did to a module's inputs that its codes
   * make up for. Absent for plain GPTQ.
   */
  readonly drift?: number;
}

export interface RefineSettings {
  /** How often scales are fitted and codes moved. */
  readonly rounds: number;
  /** Passes over all codes in each round. */
  readonly passes: number;
}

/** What `QuantizationModifier` has beyond LLM Compressor's fields. */
export interface RoundingSettings {
  readonly refine: RefineSettings;
}

export const REFINE_SETTINGS: RefineSettings = { rounds: 2, passes: 1 };
/** A refinement goes over so many columns at once, and fits scales that no more than these share. */
export const REFINE_BLOCK = 128;

/** True if a refinement fits the scales of such weights; it leaves others as they are, and moves codes alone. */
export function fitsScales({
  strategy,
  group_size: size,
}: Pick<QuantizationArgs, "strategy" | "group_size">): boolean {
  return (strategy === "group" || strategy === "tensor_group") && size !== null && size <= REFINE_BLOCK;
}

export const GPTQ_SETTINGS: GptqSettings = { block_size: 128, dampening_frac: 0.01 };
export const GPTQ_ACTORDER: ActorderSetting = "static";

export const GPTQ: QuantizerVocabulary<"GPTQModifier"> = {
  name: "GPTQModifier",
  prefix: "gptq-",
  title: "GPTQ",
  sentence:
    "Runs a text through the model, layer by layer, and chooses codes that preserve each layer’s output. Slower and more faithful, above all at 4 bits and below.",
  calibrates: true,
  ordersColumns: true,
  refuses: () => null,
};
