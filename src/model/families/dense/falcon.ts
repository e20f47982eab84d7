import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  flag,
  intermediateSize,
  readFields,
  sizeFields,
  unsupportedField,
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
  sharedNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 65_024,
    hidden_size: 4544,
    intermediate_size: 18_176,
    num_hidden_layers: 32,
    num_attention_heads: 71,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  num_kv_heads: v.nullish(count()),
  ffn_hidden_size: v.nullish(intermediateSize),
  activation: v.optional(activation, "gelu"),
  layer_norm_epsilon: v.optional(epsilon, 1e-5),
  // Positions as a bias of the scores.
  alibi: v.nullish(v.literal(false)),
  new_decoder_architecture: v.optional(flag, false),
  multi_query: v.optional(flag, true),
  parallel_attn: v.optional(flag, true),
  num_ln_in_parallel_attn: v.nullish(v.picklist([1, 2])),
  bias: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_falcon.py`: groups of q, k and v in one Linear; parallel blocks with one norm or two, or one block after the other. */
export const describeFalcon: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, bias, parallel_attn: parallel } = sizes;
  const heads = sizes.num_attention_heads;
  const single = sizes.multi_query ? 1 : heads;
  const kvHeads = sizes.new_decoder_architecture ? sizes.num_kv_heads || heads : single;
  const shape = headShape({ ...sizes, num_key_value_heads: kvHeads, head_dim: null });
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const norm = (module: string) => layerNorm(module, hiddenSize, sizes.layer_norm_epsilon, true);
  const norms = normsOf(sizes);
  const mlp = {
    hiddenSize,
    intermediateSize: sizes.ffn_hidden_size ?? 4 * hiddenSize,
    activation: sizes.activation,
    bias,
  };
  const rows = (shape.heads + 2 * kvHeads) * shape.headDim;
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}ln_f`),
    layers: layers(
      tensors,
      sizes,
      (layer) => ({
        norms: norms(layer, norm),
        mixers: [
          attentionWith(
            `${layer}.self_attention`,
            {
              kind: "fused",
              queryKeyValue: linear(`${layer}.self_attention.query_key_value`, rows, hiddenSize, bias),
              groups: kvHeads,
            },
            { ...shape, hiddenSize, rotary, outputBias: bias, outputName: "dense" },
          ),
        ],
        feedForward: plainMlp(`${layer}.mlp`, mlp, { up: "dense_h_to_4h", down: "dense_4h_to_h" }),
        parallel,
      }),
      "h",
    ),
  };
};

type Sizes = v.InferOutput<typeof schema>;

/** @throws UnsupportedModelError for the one combination that transformers has no norms for. */
function normsOf(sizes: Sizes): typeof preNorms {
  if (!sizes.parallel_attn) {
    if (sizes.new_decoder_architecture) throw unsupportedField("parallel_attn", false);
    return preNorms;
  }
  const isNew = sizes.new_decoder_architecture;
  if ((sizes.num_ln_in_parallel_attn ?? (isNew ? 2 : 1)) === 1) return sharedNorm;
  if (!isNew) throw unsupportedField("num_ln_in_parallel_attn", 2);
  return (layer, norm) => ({
    mixerInput: norm(`${layer}.ln_attn`),
    mixerOutput: null,
    feedForwardInput: norm(`${layer}.ln_mlp`),
    feedForwardOutput: null,
  });
}
