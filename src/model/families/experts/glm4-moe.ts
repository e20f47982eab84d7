import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  flag,
  intermediateSize,
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
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_552,
    hidden_size: 4096,
    intermediate_size: 10_944,
    num_hidden_layers: 46,
    num_attention_heads: 96,
    num_key_value_heads: 8,
    head_dim: null,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  use_qk_norm: v.optional(flag, false),
  ...groupedRouterFields({
    experts: 128,
    shared: 1,
    topK: 8,
    groups: 1,
    keptGroups: 1,
    normalizeTopK: true,
    scale: 1,
  }),
  moe_intermediate_size: v.optional(intermediateSize, 1408),
  first_k_dense_replace: v.nullish(count(), 1),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_glm4_moe.py`: half of each head rotated, normed heads as an option, DeepSeek-V3's router and experts after some dense layers. */
export const describeGlm4Moe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    defaultPartial: 0.5,
  });
  const headNorm = (module: string) => (sizes.use_qk_norm ? rmsNorm(module, shape.headDim, eps) : null);
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
          queryNorm: headNorm(`${layer}.self_attn.q_norm`),
          keyNorm: headNorm(`${layer}.self_attn.k_norm`),
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
