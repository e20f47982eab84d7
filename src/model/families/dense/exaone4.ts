import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
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
  postNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 102_400,
    hidden_size: 4096,
    intermediate_size: 16_384,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  sliding_window: v.optional(v.nullable(count()), 4096),
  // A number of layers, or what old files have in place of it: "LLLG".
  sliding_window_pattern: v.nullish(v.union([v.pipe(count(), v.minValue(1)), v.literal("LLLG")]), 4),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_exaone4.py`: norms at the blocks' outputs, normed heads; where some layers have windows, they alone are rotated. */
export const describeExaone4: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, rms_norm_eps: eps, sliding_window: window } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const pattern = sizes.sliding_window_pattern === "LLLG" ? 4 : sizes.sliding_window_pattern;
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    window === null || (index + 1) % pattern === 0 ? "full_attention" : "sliding_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: postNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary: window === null || types[index] === "sliding_attention" ? rotary : null,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.headDim, eps),
          slidingWindow: windowOf(types[index], window),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
      }),
    })),
  };
};
