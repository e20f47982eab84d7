import type { Config } from "../../parts/config-fields.ts";
import type { DecoderTensors } from "../../parts/decoder-parts.ts";
import { NO_WINDOWS, QWEN3_VL } from "../dense/qwen-vl.ts";
import { describeQwen3Moe } from "./qwen3-moe.ts";

/** Qwen3's mixture with other defaults, and without windows, whatever config.json says. */
export function describeQwen3VlMoe(config: Config, tensors: DecoderTensors) {
  const sizes = {
    num_attention_heads: 16,
    num_key_value_heads: 16,
    moe_intermediate_size: 1408,
    num_local_experts: 60,
    num_experts_per_tok: 4,
  };
  const fixed = { ...NO_WINDOWS, norm_topk_prob: true };
  return describeQwen3Moe({ ...QWEN3_VL, ...sizes, ...config, ...fixed }, tensors);
}
