import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  flag,
  layerNumbers,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
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
    vocab_size: 128_256,
    hidden_size: 2048,
    intermediate_size: 11_008,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    head_dim: null,
    max_position_embeddings: 32_768,
  }),
  ...windowFields,
  sliding_window: v.nullish(count()),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  mlp_bias: v.optional(flag, false),
  no_rope_layers: v.nullish(layerNumbers),
  no_rope_layer_interval: v.optional(v.pipe(count(), v.minValue(1)), 4),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_smollm3.py`: some layers without rotation; a 0 in `no_rope_layers` marks them. */
export const describeSmollm3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 2_000_000,
  });
  const rotates = (index: number) =>
    sizes.no_rope_layers?.[index] !== undefined
      ? sizes.no_rope_layers[index] !== 0
      : (index + 1) % sizes.no_rope_layer_interval !== 0;
  const window = sizes.use_sliding_window ? (sizes.sliding_window ?? null) : null;
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    window !== null && !rotates(index) ? "sliding_attention" : "full_attention",
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
          rotary: rotates(index) ? rotary : null,
          bias,
          outputBias: bias,
          slidingWindow: windowOf(types[index], window),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
        bias: sizes.mlp_bias,
      }),
    })),
  };
};
