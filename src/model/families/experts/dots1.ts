import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  flag,
  intermediateSize,
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
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { groupedRouterFields, sigmoidExperts } from "../../parts/expert-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 152_064,
    hidden_size: 4608,
    intermediate_size: 10_944,
    num_hidden_layers: 62,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  sliding_window: v.optional(v.nullable(count()), 4096),
  max_window_layers: v.optional(count(), 62),
  layer_types: v.nullish(layerTypes),
  ...groupedRouterFields({
    experts: 64,
    shared: null,
    topK: null,
    groups: 1,
    keptGroups: 1,
    normalizeTopK: false,
    scale: 1,
  }),
  moe_intermediate_size: v.optional(intermediateSize, 1408),
  first_k_dense_replace: v.nullish(count(), 0),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_dots1.py`: normed heads, DeepSeek-V3's router and experts after some dense layers. */
export const describeDots1: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    sizes.sliding_window !== null && index >= sizes.max_window_layers
      ? "sliding_attention"
      : "full_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  const mlp = { hiddenSize, activation: sizes.hidden_act };
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
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.headDim, eps),
          slidingWindow: windowOf(types[index], sizes.sliding_window),
        }),
      ],
      feedForward:
        index >= (sizes.first_k_dense_replace ?? 0)
          ? sigmoidExperts(tensors, `${layer}.mlp`, sizes, {
              ...mlp,
              intermediateSize: sizes.moe_intermediate_size,
            })
          : gatedMlp(`${layer}.mlp`, { ...mlp, intermediateSize: sizes.intermediate_size }),
    })),
  };
};
