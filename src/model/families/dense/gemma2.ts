import * as v from "valibot";
import {
  activation,
  count,
  embeddingScale,
  epsilon,
  flag,
  layerTypes,
  positive,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  rmsNorm,
  sandwichNorms,
} from "../../parts/decoder-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 8192,
  }),
  hidden_activation: v.nullish(activation, "gelu_pytorch_tanh"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  query_pre_attn_scalar: v.optional(positive, 256),
  sliding_window: v.optional(v.nullable(count()), 4096),
  layer_types: v.nullish(layerTypes),
  final_logit_softcapping: v.optional(v.nullable(positive), 30),
  attn_logit_softcapping: v.optional(v.nullable(positive), 50),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_gemma2.py`: four norms a layer, weights stored as w − 1, capped scores, every other layer windowed. */
export const describeGemma2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    index % 2 === 0 ? "sliding_attention" : "full_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps, 1);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    embeddingMultiplier: embeddingScale(hiddenSize),
    logitSoftCap: sizes.final_logit_softcapping,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: sandwichNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          scale: sizes.query_pre_attn_scalar ** -0.5,
          softCap: sizes.attn_logit_softcapping,
          slidingWindow: windowOf(types[index], sizes.sliding_window),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_activation,
      }),
    })),
  };
};
