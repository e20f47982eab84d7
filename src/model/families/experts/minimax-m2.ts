import * as v from "valibot";
import {
  activation,
  type Config,
  epsilon,
  expertCount,
  flag,
  positions,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { experts } from "../../parts/expert-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 200_064,
    hidden_size: 3072,
    intermediate_size: 1536,
    num_hidden_layers: 62,
    num_attention_heads: 48,
    num_key_value_heads: 8,
    head_dim: 128,
    max_position_embeddings: 196_608,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  num_local_experts: v.optional(expertCount, 256),
  num_experts_per_tok: v.optional(expertCount, 8),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_minimax_m2.py`: norms over all queries and all keys at once, experts chosen by corrected sigmoids. */
export const describeMinimaxM2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(withRotaryDim(config, shape.headDim), {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 5_000_000,
    partial: true,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.heads * shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.kvHeads * shape.headDim, eps),
        }),
      ],
      feedForward: experts(tensors, {
        module: `${layer}.block_sparse_moe`,
        names: { gate: "w1", up: "w3", down: "w2" },
        count: sizes.num_local_experts,
        topK: sizes.num_experts_per_tok,
        normalizeTopK: true,
        scoring: "sigmoid",
        correction: `${layer}.block_sparse_moe.e_score_correction_bias`,
        shape: {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
        },
      }),
    })),
  };
};

const rotaryDimSchema = v.object({ rotary_dim: v.nullish(positions) });

/** Files on the hub say how many values of a head are rotated, instead of which part. */
function withRotaryDim(config: Config, headDim: number): Config {
  const { rotary_dim: dims } = readFields(rotaryDimSchema, config);
  return dims ? { partial_rotary_factor: dims / headDim, ...config } : config;
}
