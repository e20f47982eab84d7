// The text decoders of Qwen's vision models: those of Qwen2 and Qwen3, with other defaults. Qwen3's mixture is in `experts`.

import type { Config } from "../../parts/config-fields.ts";
import type { DecoderTensors } from "../../parts/decoder-parts.ts";
import { describeQwen2 } from "./qwen2.ts";
import { describeQwen3 } from "./qwen3.ts";

/** Qwen2 with other defaults. */
export function describeQwen2Vl(config: Config, tensors: DecoderTensors) {
  const sizes = {
    hidden_size: 8192,
    intermediate_size: 29_568,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    max_window_layers: 80,
  };
  return describeQwen2({ ...sizes, rms_norm_eps: 1e-5, rope_theta: 1_000_000, ...config }, tensors);
}

/** Defaults of all text decoders of Qwen3-VL. */
export const QWEN3_VL = { rope_theta: 500_000, max_position_embeddings: 128_000 };
/** What holds for them whatever config.json says. */
export const NO_WINDOWS = { use_sliding_window: false, layer_types: null };

/** Qwen3 with other defaults, and without windows, whatever config.json says. */
export function describeQwen3Vl(config: Config, tensors: DecoderTensors) {
  return describeQwen3({ ...QWEN3_VL, ...config, ...NO_WINDOWS }, tensors);
}
