import * as v from "valibot";
import { epsilon, flag, intermediateSize, readFields, sizeFields } from "../../parts/config-fields.ts";
import type { DescribeFamily } from "../../parts/decoder-parts.ts";
import { expertFields, qwenSharedExperts } from "../../parts/expert-parts.ts";
import { deltaFields } from "../../parts/mixer-parts.ts";
import { gatedDeltaBody } from "./qwen3-5.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 48,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    head_dim: 256,
    max_position_embeddings: 32_768,
  }),
  ...deltaFields,
  ...expertFields({ experts: 512, topK: 10, size: 512 }),
  // The delta rule's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
  norm_topk_prob: v.optional(flag, true),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  shared_expert_intermediate_size: v.optional(intermediateSize, 512),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_qwen3_next.py`: the gated delta rule in most layers, gated attention in the others, experts and a shared one. */
export const describeQwen3Next: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, hidden_act: act } = sizes;
  return gatedDeltaBody(config, tensors, sizes, (layer, index) =>
    qwenSharedExperts(tensors, `${layer}.mlp`, sizes, { hiddenSize, activation: act }, index),
  );
};
