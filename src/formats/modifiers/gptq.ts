import type { ActorderSetting } from "../quantization-args.ts";
import type { QuantizerVocabulary } from "./vocabulary.ts";

/** What `GPTQModifier` has beyond rounding to nearest (`modifiers/gptq/base.py`); its actorder stands in the weight arguments. */
export interface GptqSettings {
  readonly block_size: number;
  readonly dampening_frac: number;
}

export const GPTQ_SETTINGS: GptqSettings = { block_size: 128, dampening_frac: 0.01 };
export const GPTQ_ACTORDER: ActorderSetting = "static";

export const GPTQ: QuantizerVocabulary<"GPTQModifier"> = {
  name: "GPTQModifier",
  prefix: "gptq-",
  title: "GPTQ",
  sentence:
    "Reads text through the model, layer by layer, and chooses codes that keep what each layer gives out. Slower and more faithful, most of all at 4 bits and below.",
  calibrates: true,
  ordersColumns: true,
  refuses: () => null,
};
