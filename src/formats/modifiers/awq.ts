import type { RewriterVocabulary } from "./vocabulary.ts";

/** What `AWQModifier` can be told (`modifiers/transform/awq/base.py`). */
export interface AwqSettings {
  /** True: scales by activations and weights; false: by activations alone; "both": half of the grid each. */
  readonly duo_scaling: boolean | "both";
  /** Candidates that are tried for each mapping. */
  readonly n_grid: number;
  /**
   * This program's own. Absent, errors are those of each Linear's output, by Hessians; "block": those of what the block gives out,
   * which is run for each candidate as LLM Compressor does.
   */
  readonly loss?: "block";
}

export const AWQ_LOSSES = ["hessian", "block"] as const;
export type AwqLoss = (typeof AWQ_LOSSES)[number];

/** What the other loss is for and what it costs. */
export const AWQ_BLOCKS_SENTENCE =
  "Compares scales by the outputs of attention and MLP on all tokens, as LLM Compressor does. Without it, attention is compared on a few tokens, and an MLP by the errors of its Linears. Runs both for every scale that is tried, so it takes several times as long.";

export const AWQ_SETTINGS: AwqSettings = { duo_scaling: true, n_grid: 20 };

export const AWQ: RewriterVocabulary<"AWQModifier"> = {
  name: "AWQModifier",
  prefix: "awq-",
  title: "AWQ",
  looksAt:
    "AWQ looks at how large the activations of each channel are on this text, and at what rounding would do to what layers give out.",
  refuses: ({ strategy }) =>
    strategy === "tensor"
      ? "AWQ moves scale between columns, and these weights have one scale for all of them"
      : null,
};
