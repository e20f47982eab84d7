import * as v from "valibot";
import { activation, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layerNorm,
  layers,
  plainMlp,
  preNorms,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 256_000,
    hidden_size: 6144,
    intermediate_size: 24_576,
    num_hidden_layers: 32,
    num_attention_heads: 48,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 4096,
  }),
  hidden_act: v.optional(activation, "relu2"),
  norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  mlp_bias: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_nemotron.py`: layer norms stored as w − 1, half of each head rotated, an MLP of two Linears. */
export const describeNemotron: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    defaultPartial: 0.5,
  });
  const norm = (module: string) => layerNorm(module, hiddenSize, sizes.norm_eps, true, 1);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, bias, outputBias: bias })],
      feedForward: plainMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
        bias: sizes.mlp_bias,
      }),
    })),
  };
};
