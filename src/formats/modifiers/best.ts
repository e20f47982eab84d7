// The recipe that is asked for by the word "best": what pays at few bits, put together. GPTQ over ranges that its Hessian
// chooses, in a model whose large channels are spread over all, and then refined.

import { DEFAULT_IGNORE } from "./default-ignore.ts";

export const BEST_PREFIX = "best-";

/** Bits of the presets that it was put together for. */
const BITS: Readonly<Record<string, number>> = { W4A16: 4, W3A16: 3 };
export const BEST_SCHEMES: readonly string[] = Object.keys(BITS);

/** What it is for and what it costs. */
export const BEST_SENTENCE =
  "Keeps more of the original than GPTQ alone, at the same size: the model is rotated, ranges are chosen by how much each column matters for the text, and GPTQ’s codes and scales are refined. It takes longer than GPTQ, which the plan’s time includes. A head that is tied to the embedding becomes a tensor of its own. Where an architecture cannot be rotated, remove SpinQuantModifier from the YAML.";

/**
 * The recipe in YAML, so that all of it can be read and changed; `groupSize` replaces the preset's, and `ignore` names modules
 * or `re:` patterns.
 */
export function bestRecipe(
  scheme: string,
  groupSize: number | null = null,
  ignore: readonly string[] = DEFAULT_IGNORE,
): string {
  return `default_stage:
  default_modifiers:
    SpinQuantModifier:
      rotations: [R1, R2]
      transform_type: random-hadamard
    GPTQModifier:
      targets: [Linear]
      ignore: ${JSON.stringify(ignore)}
      ${groupSize === null ? `scheme: ${scheme}` : groupsOf(scheme, groupSize)}
      weight_observer: hessian_mse
      refine:
        rounds: 2
        passes: 1
`;
}

/** The preset's weights in groups of another size. */
function groupsOf(scheme: string, groupSize: number): string {
  return `config_groups:
        group_0:
          targets: [Linear]
          weights: { num_bits: ${BITS[scheme]}, type: int, symmetric: true, strategy: group, group_size: ${groupSize} }`;
}
