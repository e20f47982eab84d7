// What is said of a modifier where nothing is computed: in recipes, on the page, on the command line. Its arithmetic lies in
// `quantize`.

import type { QuantizationArgs } from "../schemes/quantization-args.ts";

/** The words of a modifier that chooses codes. */
export interface QuantizerVocabulary<Name extends string> {
  /** LLM Compressor's class. */
  readonly name: Name;
  /** What stands before a preset's name in a recipe of one word: "gptq-" in "gptq-W4A16". */
  readonly prefix: string;
  readonly title: string;
  /** What it is for and what it costs. */
  readonly sentence: string;
  /** True if it chooses codes by what a text's activations are, whatever the scheme. */
  readonly calibrates: boolean;
  /** True if it may quantize columns in another order than theirs, so that a file has to tell the groups of columns. */
  readonly ordersColumns: boolean;
  /** Why it cannot choose codes of these weights, as a sentence without its end; null if it can. */
  refuses(weights: Pick<QuantizationArgs, "type" | "num_bits">): string | null;
}

/** The words of a modifier that moves factors between tensors, so that a quantizer after it loses less. It needs a text. */
export interface RewriterVocabulary<Name extends string> {
  /** LLM Compressor's class. */
  readonly name: Name;
  /** What stands before a quantizer's words in a recipe of one word: "smoothquant-" in "smoothquant-gptq-W8A8". */
  readonly prefix: string;
  readonly title: string;
  /** What it wants a text for, as a sentence. */
  readonly looksAt: string;
  /** Why its defaults cannot prepare these weights, as a sentence without its end; null if they can. */
  refuses(weights: Pick<QuantizationArgs, "strategy">): string | null;
}
