import * as v from "valibot";
import { activation, count, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { resolveLayerTypes, windowFields, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    head_dim: null,
    max_position_embeddings: 32_768,
  }),
  ...windowFields,
  max_window_layers: v.optional(count(), 28),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_qwen2.py`: biases of q, k and v alone. The text decoder of Qwen2-VL and Qwen2.5-VL too. */
export const describeQwen2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const window = sizes.use_sliding_window ? sizes.sliding_window : null;
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    window !== null && index >= sizes.max_window_layers ? "sliding_attention" : "full_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
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
          bias: true,
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
