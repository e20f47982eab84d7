import * as v from "valibot";
import { activation, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { expertFields, hasExperts, qwenExperts } from "../../parts/expert-parts.ts";
import { windowFields, windowOfAll } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    head_dim: null,
    max_position_embeddings: 32_768,
  }),
  ...windowFields,
  ...expertFields({ experts: 128, topK: 8, size: 768 }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_qwen3_moe.py`: Qwen3 with experts. */
export const describeQwen3Moe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, hidden_act: act, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const slidingWindow = windowOfAll(sizes.use_sliding_window ? sizes.sliding_window : null);
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  const headNorm = (module: string) => rmsNorm(module, shape.headDim, sizes.rms_norm_eps);
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
          bias,
          outputBias: bias,
          queryNorm: headNorm(`${layer}.self_attn.q_norm`),
          keyNorm: headNorm(`${layer}.self_attn.k_norm`),
          slidingWindow,
        }),
      ],
      feedForward: hasExperts(sizes, index)
        ? qwenExperts(tensors, `${layer}.mlp`, sizes, { hiddenSize, activation: act })
        : gatedMlp(`${layer}.mlp`, {
            hiddenSize,
            intermediateSize: sizes.intermediate_size,
            activation: act,
          }),
    })),
  };
};
