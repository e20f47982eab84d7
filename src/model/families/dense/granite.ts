import * as v from "valibot";
import {
  activation,
  type Config,
  epsilon,
  finite,
  flag,
  layerTypes,
  positive,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderBody,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import type { FeedForward } from "../../decoder-description.ts";
import type { Mixer, Rotary } from "../../mixer-description.ts";
import { requireFullAttention } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

/** Fields of all Granite models but for their feed-forward's activation. */
export const graniteFields = {
  ...sizeFields({
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  embedding_multiplier: v.optional(finite, 1),
  logits_scaling: v.optional(positive, 1),
  residual_multiplier: v.optional(finite, 1),
  attention_multiplier: v.optional(finite, 1),
  tie_word_embeddings: v.optional(flag, false),
};

const schema = v.object({
  ...graniteFields,
  hidden_act: v.optional(activation, "silu"),
  mlp_bias: v.optional(flag, false),
  layer_types: v.nullish(layerTypes),
});

/** transformers `modeling_granite.py`: Llama with four multipliers. */
export const describeGranite: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, intermediate_size: intermediateSize } = sizes;
  const rotary = graniteRotary(config, sizes);
  const mlp = { hiddenSize, intermediateSize, activation: sizes.hidden_act, bias: sizes.mlp_bias };
  requireFullAttention(sizes.layer_types);
  return graniteBody(tensors, sizes, (layer) => ({
    mixer: graniteAttention(layer, sizes, rotary),
    feedForward: gatedMlp(`${layer}.mlp`, mlp),
  }));
};

const fields = v.object(graniteFields);
type GraniteSizes = v.InferOutput<typeof fields>;

export function graniteRotary(config: Config, sizes: GraniteSizes): Rotary {
  return readRotary(config, {
    headDim: headShape(sizes).headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
}

/** Attention whose scores have a factor of the configuration; no rotation in models without positions. */
export function graniteAttention(layer: string, sizes: GraniteSizes, rotary: Rotary | null): Mixer {
  const { hidden_size: hiddenSize, attention_bias: bias, attention_multiplier: scale } = sizes;
  const shape = headShape(sizes);
  return attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, bias, outputBias: bias, scale });
}

/** Granite's norms and multipliers around the blocks of a family. */
export function graniteBody(
  tensors: DecoderTensors,
  sizes: GraniteSizes,
  blocks: (layer: string, index: number) => { readonly mixer: Mixer; readonly feedForward: FeedForward },
): DecoderBody {
  const norm = (module: string) => rmsNorm(module, sizes.hidden_size, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    embeddingMultiplier: sizes.embedding_multiplier,
    logitScale: 1 / sizes.logits_scaling,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => {
      const { mixer, feedForward } = blocks(layer, index);
      return {
        norms: preNorms(layer, norm),
        mixers: [mixer],
        feedForward,
        residualMultiplier: sizes.residual_multiplier,
      };
    }),
  };
}
