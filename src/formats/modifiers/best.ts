// The recipe that is asked for by the word "best": what pays at few bits, put together. GPTQ over ranges that its Hessian
// chooses, in a model whose large channels are spread over all, and then refined.

export const BEST_PREFIX = "best-";

/** Presets that it was put together for. */
export const BEST_SCHEMES: readonly string[] = ["W4A16", "W3A16"];

/** What it is for and what it costs. */
export const BEST_SENTENCE =
  "Keeps more of the original than GPTQ alone, at the same size: the model is rotated, ranges are chosen by what the text makes of each column, and GPTQ’s codes and scales are refined. It takes longer than GPTQ, the time in the plan counts that, and a head that is tied to the embedding becomes a tensor of its own. Not every architecture can be rotated: take SpinQuantModifier out of the YAML then.";

/** The recipe in YAML, so that all of it can be read and changed. */
export function bestRecipe(scheme: string): string {
  return `default_stage:
  default_modifiers:
    SpinQuantModifier:
      rotations: [R1, R2]
      transform_type: random-hadamard
    GPTQModifier:
      targets: [Linear]
      ignore: [lm_head]
      scheme: ${scheme}
      weight_observer: hessian_mse
      refine:
        rounds: 2
        passes: 1
`;
}
