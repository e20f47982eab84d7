import * as v from "valibot";
import { activation, epsilon, expertCount, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 50_304,
    hidden_size: 2048,
    intermediate_size: 2048,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 4096,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  // Queries, keys and values cut off at a limit.
  clip_qkv: v.nullish(v.literal(false)),
  num_experts: v.optional(expertCount, 64),
  num_experts_per_tok: v.optional(expertCount, 8),
  norm_topk_prob: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_olmoe.py`: experts in every layer, and norms over all queries and all keys of a token at once. */
export const describeOlmoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.heads * shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.kvHeads * shape.headDim, eps),
        }),
      ],
      feedForward: experts(tensors, {
        module: `${layer}.mlp`,
        names: EXPERT_NAMES,
        count: sizes.num_experts,
        topK: sizes.num_experts_per_tok,
        normalizeTopK: sizes.norm_topk_prob,
        shape: {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
        },
      }),
    })),
  };
};
