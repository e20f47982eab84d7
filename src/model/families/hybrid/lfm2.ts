import * as v from "valibot";
import {
  count,
  epsilon,
  flag,
  intermediateSize,
  layerNumbers,
  positive,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layers,
  linear,
  mlpWith,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { Mlp } from "../../decoder-description.ts";
import { convolution } from "../../parts/mixer-parts.ts";
import type { ShortConvolution } from "../../mixer-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 65_536,
    hidden_size: 2560,
    intermediate_size: 12_288,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: null,
    max_position_embeddings: 128_000,
  }),
  norm_eps: v.optional(epsilon, 1e-5),
  conv_bias: v.optional(flag, false),
  conv_L_cache: v.optional(v.pipe(count(), v.minValue(1), v.maxValue(64)), 3),
  block_multiple_of: v.optional(v.pipe(count(), v.minValue(1)), 256),
  block_ffn_dim_multiplier: v.optional(v.nullable(positive), 1),
  block_auto_adjust_ff_dim: v.optional(flag, true),
  block_ff_dim: v.nullish(intermediateSize),
  full_attn_idxs: v.nullish(layerNumbers),
  layer_types: v.nullish(v.pipe(v.array(v.picklist(["conv", "full_attention"])), v.maxLength(1024))),
  tie_embedding: v.nullish(flag),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_lfm2.py`: short convolutions, and attention with normed heads in some layers. */
export const describeLfm2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 1_000_000,
  });
  const isAttention = (index: number) =>
    sizes.layer_types
      ? sizes.layer_types[index] === "full_attention"
      : (sizes.full_attn_idxs?.includes(index) ?? true);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const inner = innerSize(sizes);
  return {
    sizes,
    tied: sizes.tie_embedding ?? sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}embedding_norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: {
        mixerInput: norm(`${layer}.operator_norm`),
        mixerOutput: null,
        feedForwardInput: norm(`${layer}.ffn_norm`),
        feedForwardOutput: null,
      },
      mixers: [
        isAttention(index)
          ? attention(`${layer}.self_attn`, {
              ...shape,
              hiddenSize,
              rotary,
              outputName: "out_proj",
              queryNorm: rmsNorm(`${layer}.self_attn.q_layernorm`, shape.headDim, eps),
              keyNorm: rmsNorm(`${layer}.self_attn.k_layernorm`, shape.headDim, eps),
            })
          : shortConvolution(`${layer}.conv`, sizes),
      ],
      feedForward: mlp(`${layer}.feed_forward`, hiddenSize, inner),
    })),
  };
};

/** Two thirds of what config.json says, times a factor, rounded up, unless it says not to. */
function innerSize(sizes: v.InferOutput<typeof schema>): number {
  const size = sizes.block_ff_dim ?? sizes.intermediate_size;
  if (!sizes.block_auto_adjust_ff_dim) return size;
  const { block_ffn_dim_multiplier: factor, block_multiple_of: multiple } = sizes;
  const reduced = Math.trunc((2 * size) / 3);
  if (factor === null) return reduced;
  return multiple * Math.ceil(Math.trunc(factor * reduced) / multiple);
}

function shortConvolution(module: string, sizes: v.InferOutput<typeof schema>): ShortConvolution {
  const { hidden_size: hiddenSize, conv_bias: bias } = sizes;
  return {
    kind: "short-convolution",
    module,
    input: linear(`${module}.in_proj`, 3 * hiddenSize, hiddenSize, bias),
    convolution: convolution(`${module}.conv`, hiddenSize, sizes.conv_L_cache, bias),
    output: linear(`${module}.out_proj`, hiddenSize, hiddenSize, bias),
  };
}

function mlp(module: string, hiddenSize: number, inner: number): Mlp {
  const gate = linear(`${module}.w1`, inner, hiddenSize);
  const up = linear(`${module}.w3`, inner, hiddenSize);
  const shape = { hiddenSize, intermediateSize: inner, activation: "silu" } as const;
  return mlpWith({ kind: "gated", gate, up }, linear(`${module}.w2`, hiddenSize, inner), shape);
}
