import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  flag,
  intermediateSize,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { expertFields, qwenSharedExperts } from "../../parts/expert-parts.ts";
import { resolveLayerTypes, windowFields, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    head_dim: null,
    max_position_embeddings: 32_768,
  }),
  ...windowFields,
  ...expertFields({ experts: 60, topK: 4, size: 1408 }),
  max_window_layers: v.optional(count(), 28),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  qkv_bias: v.optional(flag, true),
  shared_expert_intermediate_size: v.optional(intermediateSize, 5632),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_qwen2_moe.py`: Qwen2 with experts, and one expert more that sees every token through a gate. */
export const describeQwen2Moe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, hidden_act: act } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const window = sizes.use_sliding_window ? sizes.sliding_window : null;
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    sizes.use_sliding_window && index % 2 === 0 && index < sizes.max_window_layers
      ? "sliding_attention"
      : "full_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias: sizes.qkv_bias,
          slidingWindow: windowOf(types[index], window),
        }),
      ],
      feedForward: qwenSharedExperts(tensors, `${layer}.mlp`, sizes, { hiddenSize, activation: act }, index),
    })),
  };
};
