import type { RewriterVocabulary } from "./vocabulary.ts";

/** What `AWQModifier` can be told (`modifiers/transform/awq/base.py`). */
export interface AwqSettings {
  /** True: scales by activations and weights; false: by activations alone; "both": half of the grid each. */
  readonly duo_scaling: boolean | "both";
  /** Candidates that are tried for each mapping. */
  readonly n_grid: number;
}

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
