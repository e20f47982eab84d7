import * as v from "valibot";
import {
  activation,
  count,
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
  layerNorm,
  layers,
  sharedNorm,
} from "../../parts/decoder-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
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
  sliding_window: v.optional(v.nullable(count()), 4096),
  sliding_window_pattern: v.nullish(v.pipe(count(), v.minValue(1)), 4),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_cohere2.py`: Cohere with windows in most layers, which alone are rotated. */
export const describeCohere2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    interleaved: true,
  });
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    (index + 1) % sizes.sliding_window_pattern === 0 ? "full_attention" : "sliding_attention",
  );
  const norm = (module: string) => layerNorm(module, hiddenSize, sizes.layer_norm_eps, false);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    logitScale: sizes.logit_scale,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => {
      const slidingWindow = windowOf(types[index], sizes.sliding_window);
      return {
        norms: sharedNorm(layer, norm),
        mixers: [
          attention(`${layer}.self_attn`, {
            ...shape,
            hiddenSize,
            rotary: slidingWindow === null ? null : rotary,
            bias,
            outputBias: bias,
            slidingWindow,
          }),
        ],
        feedForward: gatedMlp(`${layer}.mlp`, {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
        }),
        parallel: true,
      };
    }),
  };
};
