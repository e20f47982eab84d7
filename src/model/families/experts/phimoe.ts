import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  expertCount,
  finite,
  flag,
  readFields,
  sizeFields,
  unsupportedField,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layerNorm,
  layers,
  preNorms,
} from "../../parts/decoder-parts.ts";
import { experts } from "../../parts/expert-parts.ts";
import { windowOfAll } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 32_064,
    hidden_size: 4096,
    intermediate_size: 6400,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: null,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  sliding_window: v.nullish(count()),
  lm_head_bias: v.optional(flag, false),
  num_local_experts: v.optional(expertCount, 16),
  // SparseMixer chooses two.
  num_experts_per_tok: v.optional(v.literal(2), 2),
  router_jitter_noise: v.optional(v.pipe(finite, v.minValue(0)), 0.01),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_phimoe.py`: layer norms, and two experts a token by SparseMixer. */
export const describePhimoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 1_000_000,
  });
  const slidingWindow = windowOfAll(sizes.sliding_window);
  const norm = (module: string) => layerNorm(module, hiddenSize, sizes.rms_norm_eps, true);
  // longrope here has factors of its own for the magnitude.
  if (rotary.scaling.type !== "default") throw unsupportedField("rope_type", rotary.scaling.type);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    headBias: sizes.lm_head_bias,
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          slidingWindow,
        }),
      ],
      feedForward: experts(tensors, {
        module: `${layer}.block_sparse_moe`,
        names: { gate: "w1", up: "w3", down: "w2" },
        count: sizes.num_local_experts,
        topK: sizes.num_experts_per_tok,
        normalizeTopK: false,
        scoring: { kind: "sparsemixer", jitter: sizes.router_jitter_noise },
        shape: {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
        },
      }),
    })),
  };
};
