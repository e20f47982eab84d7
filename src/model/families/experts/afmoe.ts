import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  expertCount,
  finite,
  flag,
  intermediateSize,
  layerTypes,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  linear,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { Experts } from "../../decoder-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 200_192,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 32,
    num_attention_heads: 16,
    num_key_value_heads: null,
    head_dim: 128,
    max_position_embeddings: 16_384,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  moe_intermediate_size: v.optional(intermediateSize, 1408),
  num_dense_layers: v.optional(count(), 1),
  num_experts: v.optional(expertCount, 64),
  num_experts_per_tok: v.optional(expertCount, 6),
  num_shared_experts: v.optional(expertCount, 2),
  route_scale: v.optional(finite, 1),
  global_attn_every_n_layers: v.optional(v.pipe(count(), v.minValue(1)), 4),
  sliding_window: v.optional(v.nullable(count()), 1024),
  mup_enabled: v.optional(flag, false),
  // What files on the hub say of the router; transformers knows no other.
  score_func: v.nullish(v.literal("sigmoid")),
  route_norm: v.nullish(v.literal(true)),
  n_group: v.nullish(v.literal(1)),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_afmoe.py`: gated attention with normed heads, windowed layers alone rotated, norms on both sides, experts by corrected sigmoids. */
export const describeAfmoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    (index + 1) % sizes.global_attn_every_n_layers === 0 ? "full_attention" : "sliding_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const norms = (layer: string) => ({
    mixerInput: norm(`${layer}.input_layernorm`),
    mixerOutput: norm(`${layer}.post_attention_layernorm`),
    feedForwardInput: norm(`${layer}.pre_mlp_layernorm`),
    feedForwardOutput: norm(`${layer}.post_mlp_layernorm`),
  });
  const mlp = { hiddenSize, activation: sizes.hidden_act };
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    embeddingMultiplier: sizes.mup_enabled ? Math.sqrt(hiddenSize) : 1,
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: norms(layer),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary: types[index] === "sliding_attention" ? rotary : null,
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.headDim, eps),
          slidingWindow: windowOf(types[index], sizes.sliding_window),
          gate: {
            kind: "separate",
            linear: linear(`${layer}.self_attn.gate_proj`, shape.heads * shape.headDim, hiddenSize),
          },
        }),
      ],
      feedForward:
        index < sizes.num_dense_layers
          ? gatedMlp(`${layer}.mlp`, { ...mlp, intermediateSize: sizes.intermediate_size })
          : mixture(tensors, `${layer}.mlp`, sizes),
    })),
  };
};

function mixture(tensors: DecoderTensors, module: string, sizes: v.InferOutput<typeof schema>): Experts {
  const { hidden_size: hiddenSize, moe_intermediate_size: inner, num_shared_experts: shared } = sizes;
  const mlp = { hiddenSize, activation: sizes.hidden_act };
  const sharedShape = { ...mlp, intermediateSize: inner * shared };
  return experts(tensors, {
    module,
    names: EXPERT_NAMES,
    routerName: "router.gate",
    count: sizes.num_experts,
    topK: sizes.num_experts_per_tok,
    normalizeTopK: true,
    scoring: "sigmoid",
    correction: `${module}.expert_bias`,
    scale: sizes.route_scale,
    shape: { ...mlp, intermediateSize: inner },
    shared: shared > 0 ? { mlp: gatedMlp(`${module}.shared_experts`, sharedShape), gate: null } : null,
  });
}
