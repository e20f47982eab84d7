import * as v from "valibot";
import {
  activation,
  epsilon,
  finite,
  flag,
  positive,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attentionWith,
  type DescribeFamily,
  headShape,
  layerNorm,
  layers,
  linear,
  plainMlp,
  preNorms,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 50_432,
    hidden_size: 6144,
    intermediate_size: 24_576,
    num_hidden_layers: 44,
    num_attention_heads: 64,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  hidden_act: v.optional(activation, "gelu"),
  layer_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, true),
  use_parallel_residual: v.optional(flag, true),
  rotary_pct: v.optional(v.pipe(finite, v.minValue(0), v.maxValue(1)), 0.25),
  rotary_emb_base: v.optional(positive, 10_000),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_gpt_neox.py`: layer norms, each head's q, k and v side by side in one Linear, blocks parallel with a norm each. */
export const describeGptNeox: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, use_parallel_residual: parallel } = sizes;
  const shape = headShape({ ...sizes, num_key_value_heads: null, head_dim: null });
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: sizes.rotary_emb_base,
    partial: true,
    defaultPartial: sizes.rotary_pct,
  });
  const norm = (module: string) => layerNorm(module, hiddenSize, sizes.layer_norm_eps, true);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    headName: "embed_out",
    finalNorm: norm(`${tensors.prefix}final_layer_norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attentionWith(
          `${layer}.attention`,
          {
            kind: "fused",
            queryKeyValue: linear(`${layer}.attention.query_key_value`, 3 * hiddenSize, hiddenSize, bias),
            groups: shape.heads,
          },
          { ...shape, hiddenSize, rotary, outputBias: bias, outputName: "dense" },
        ),
      ],
      feedForward: plainMlp(
        `${layer}.mlp`,
        {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
          bias: true,
        },
        { up: "dense_h_to_4h", down: "dense_4h_to_h" },
      ),
      parallel,
    })),
  };
};
