// Which order of columns GPTQ keeps for a weight (LLM Compressor `GPTQModifier.resolve_quantization_config`).

import { isGrouped } from "../../formats/schemes/compression-format.ts";
import type { ActorderSetting, QuantizationArgs } from "../../formats/schemes/quantization-args.ts";

/**
 * Arguments with their actorder. "group" forms groups in the order of quantization: without groups nothing is left of it, and
 * it becomes null, as in LLM Compressor. Float formats have no place for `weight_g_idx`, without which loaders would take the
 * wrong scales; there a sentence says so.
 */
export function withActorder(
  weights: QuantizationArgs,
  actorder: ActorderSetting,
): { readonly args: QuantizationArgs } | { readonly problem: string } {
  if (actorder !== "group") return { args: { ...weights, actorder } };
  if (!isGrouped(weights)) return { args: { ...weights, actorder: null } };
  if (weights.type === "int") return { args: { ...weights, actorder } };
  return {
    problem: `actorder "group" needs weight_g_idx, which no loader reads for ${weights.num_bits}-bit floats in groups of ${weights.group_size}. Take "static", which orders columns in the same way.`,
  };
}
