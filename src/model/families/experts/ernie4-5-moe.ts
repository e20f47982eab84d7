import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  expertCount,
  finite,
  flag,
  intermediateSize,
  readFields,
  sizeFields,
  unsupportedField,
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
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 103_424,
    hidden_size: 2560,
    intermediate_size: 12_288,
    num_hidden_layers: 28,
    num_attention_heads: 20,
    num_key_value_heads: 4,
    head_dim: null,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  use_bias: v.optional(flag, false),
  moe_intermediate_size: v.optional(intermediateSize, 1536),
  moe_k: v.optional(expertCount, 6),
  moe_num_experts: v.optional(expertCount, 64),
  moe_num_shared_experts: v.optional(expertCount, 2),
  moe_norm_min: v.optional(v.number(), 1e-12),
  moe_layer_start_index: v.optional(count(), 1),
  // −1 means the last layer.
  moe_layer_end_index: v.optional(v.pipe(finite, v.integer()), -1),
  moe_layer_interval: v.optional(v.pipe(count(), v.minValue(1)), 1),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_ernie4_5_moe.py`: ERNIE 4.5 with experts that a correction helps to choose, and shared ones. */
export const describeErnie45Moe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, use_bias: bias, moe_intermediate_size: inner } = sizes;
  // The sum of the chosen weights is never less than such a one.
  if (sizes.moe_norm_min > 1e-9) throw unsupportedField("moe_norm_min", sizes.moe_norm_min);
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 500_000,
    interleaved: true,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  const end = sizes.moe_layer_end_index === -1 ? sizes.num_hidden_layers - 1 : sizes.moe_layer_end_index;
  const isSparse = (layer: number) =>
    (layer + 1) % sizes.moe_layer_interval === 0 && layer >= sizes.moe_layer_start_index && layer <= end;
  const mlp = { hiddenSize, activation: sizes.hidden_act, bias };
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    headBias: bias,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, bias, outputBias: bias })],
      feedForward: isSparse(index)
        ? experts(tensors, {
            module: `${layer}.mlp`,
            names: EXPERT_NAMES,
            count: sizes.moe_num_experts,
            topK: sizes.moe_k,
            normalizeTopK: true,
            correction: `${layer}.mlp.moe_statics.e_score_correction_bias`,
            shape: { hiddenSize, activation: sizes.hidden_act, intermediateSize: inner },
            shared:
              sizes.moe_num_shared_experts > 0
                ? {
                    mlp: gatedMlp(`${layer}.mlp.shared_experts`, {
                      ...mlp,
                      intermediateSize: inner * sizes.moe_num_shared_experts,
                    }),
                    gate: null,
                  }
                : null,
          })
        : gatedMlp(`${layer}.mlp`, { ...mlp, intermediateSize: sizes.intermediate_size }),
    })),
  };
};
