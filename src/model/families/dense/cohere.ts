import * as v from "valibot";
import {
  activation,
  epsilon,
  finite,
  flag,
  layerTypes,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  layerNorm,
  sharedNorm,
} from "../../parts/decoder-parts.ts";
import { requireFullAttention } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 256_000,
    hidden_size: 8192,
    intermediate_size: 22_528,
    num_hidden_layers: 40,
    num_attention_heads: 64,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 8192,
  }),
  hidden_act: v.optional(activation, "silu"),
  layer_norm_eps: v.optional(epsilon, 1e-5),
  logit_scale: v.optional(finite, 0.0625),
  attention_bias: v.optional(flag, false),
  use_qk_norm: v.optional(flag, false),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_cohere.py`: parallel blocks, layer norms without biases, neighbouring pairs rotated. */
export const describeCohere: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, layer_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 500_000,
    interleaved: true,
  });
  const norm = (module: string) => layerNorm(module, hiddenSize, eps, false);
  const headNorm = (module: string, heads: number) =>
    sizes.use_qk_norm
      ? { ...layerNorm(module, shape.headDim, eps, false), weightSize: heads * shape.headDim }
      : null;
  requireFullAttention(sizes.layer_types);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    logitScale: sizes.logit_scale,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: sharedNorm(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          queryNorm: headNorm(`${layer}.self_attn.q_norm`, shape.heads),
          keyNorm: headNorm(`${layer}.self_attn.k_norm`, shape.kvHeads),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
      }),
      parallel: true,
    })),
  };
};
