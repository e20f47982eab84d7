import * as v from "valibot";
import { MalformedModelError } from "../../errors.ts";
import {
  activation,
  type Config,
  count,
  embeddingScale,
  epsilon,
  expertCount,
  flag,
  headCount,
  headDim as headDimField,
  intermediateSize as innerSize,
  layerTypes,
  positive,
  readFields,
  sizeFields,
  unsupportedField,
} from "../config-fields.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  type HeadShape,
  headShape,
  layers,
  plainNorm,
  rmsNorm,
  sandwichNorms,
} from "../decoder-parts.ts";
import type { Experts, FeedForward, LayerNorms } from "../decoder-description.ts";
import { EXPERT_NAMES, experts } from "../expert-parts.ts";
import { resolveLayerTypes } from "../layer-types.ts";
import { type LayerType, readRotary } from "../rotary-parameters.ts";
import type { Norm } from "../weight-description.ts";

const headFields = { head_dim: v.nullish(headDimField), num_key_value_heads: v.nullish(headCount) };

const schema = v.object({
  ...sizeFields({
    vocab_size: 262_144,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 30,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 131_072,
  }),
  // Images alone are seen in both directions.
  use_bidirectional_attention: v.nullish(v.literal("vision")),
  hidden_activation: v.nullish(activation, "gelu_pytorch_tanh"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  attention_k_eq_v: v.optional(flag, false),
  global_head_dim: v.optional(headDimField, 512),
  num_global_key_value_heads: v.nullish(headCount),
  per_layer_config: v.nullish(v.record(v.string(), v.object(headFields))),
  sliding_window: v.optional(v.pipe(count(), v.minValue(1)), 512),
  layer_types: v.nullish(layerTypes),
  hidden_size_per_layer_input: v.nullish(count(), 256),
  num_kv_shared_layers: v.nullish(count(), 0),
  enable_moe_block: v.optional(flag, false),
  num_experts: v.nullish(expertCount),
  top_k_experts: v.nullish(expertCount),
  moe_intermediate_size: v.nullish(innerSize),
  final_logit_softcapping: v.nullish(positive),
  tie_word_embeddings: v.optional(flag, true),
});

type Sizes = v.InferOutput<typeof schema>;

/**
 * transformers `modeling_gemma4.py`, the text model: Gemma 3 with normed values, other heads in full layers, whose keys may
 * be their values, a factor for each layer, and experts beside the MLP.
 */
export const describeGemma4: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  if (sizes.num_kv_shared_layers > 0)
    throw unsupportedField("num_kv_shared_layers", sizes.num_kv_shared_layers);
  if (sizes.hidden_size_per_layer_input > 0) {
    throw unsupportedField("hidden_size_per_layer_input", sizes.hidden_size_per_layer_input);
  }
  const types = typesOf(sizes);
  const rotaryOf = rotaries(config, sizes);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    embeddingMultiplier: embeddingScale(hiddenSize),
    logitSoftCap: sizes.final_logit_softcapping ?? null,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => {
      const type = types[index] ?? "full_attention";
      const isFull = type === "full_attention";
      const shape = headsOf(sizes, index, isFull);
      const headNorm = (module: string) => rmsNorm(module, shape.headDim, eps);
      return {
        norms: normsOf(layer, sizes, norm),
        mixers: [
          attention(`${layer}.self_attn`, {
            ...shape,
            hiddenSize,
            rotary: rotaryOf(type, shape.headDim),
            bias,
            outputBias: bias,
            queryNorm: headNorm(`${layer}.self_attn.q_norm`),
            keyNorm: headNorm(`${layer}.self_attn.k_norm`),
            valueNorm: plainNorm(shape.headDim, eps),
            keysAreValues: sizes.attention_k_eq_v && isFull,
            scale: 1,
            slidingWindow: isFull ? null : sizes.sliding_window,
          }),
        ],
        feedForward: feedForwardOf(tensors, layer, sizes),
        outputScale: `${layer}.layer_scalar`,
      };
    }),
  };
};

/** transformers makes the last layer a full one, whatever config.json says. */
function typesOf({ layer_types, num_hidden_layers: all }: Sizes): readonly LayerType[] {
  const types = resolveLayerTypes(layer_types, all, (index) =>
    (index + 1) % 6 === 0 ? "full_attention" : "sliding_attention",
  );
  return types.slice(0, all).with(all - 1, "full_attention");
}

/** Heads of a layer: by `per_layer_config`, which newer files have, or as fields for full layers say. */
function headsOf(sizes: Sizes, index: number, isFull: boolean): HeadShape {
  const { per_layer_config, attention_k_eq_v, num_global_key_value_heads } = sizes;
  const global = {
    head_dim: sizes.global_head_dim,
    num_key_value_heads: attention_k_eq_v ? num_global_key_value_heads : null,
  };
  const own = per_layer_config ? per_layer_config[String(index)] : isFull ? global : {};
  return headShape({
    ...sizes,
    head_dim: own?.head_dim ?? sizes.head_dim,
    num_key_value_heads: own?.num_key_value_heads ?? sizes.num_key_value_heads,
  });
}

/** One object for each layer type and head size: layers that share it share its table. */
function rotaries(config: Config, { max_position_embeddings: maxPositions }: Sizes) {
  const given = { ...DEFAULT_ROPE, ...config };
  const known = new Map<string, ReturnType<typeof readRotary>>();
  return (layerType: LayerType, headDim: number) => {
    const key = `${layerType} ${headDim}`;
    const rotary =
      known.get(key) ?? readRotary(given, { headDim, maxPositions, defaultTheta: 10_000, layerType });
    known.set(key, rotary);
    return rotary;
  };
}

const DEFAULT_ROPE = {
  rope_parameters: {
    sliding_attention: { rope_type: "default", rope_theta: 10_000 },
    full_attention: { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1_000_000 },
  },
};

/** Experts see another norm than the MLP beside them, whose own is then a part of the block. */
function normsOf(layer: string, { enable_moe_block }: Sizes, norm: (module: string) => Norm): LayerNorms {
  const norms = sandwichNorms(layer, norm);
  if (!enable_moe_block) return norms;
  return { ...norms, feedForwardInput: norm(`${layer}.pre_feedforward_layernorm_2`) };
}

function feedForwardOf(tensors: DecoderTensors, layer: string, sizes: Sizes): FeedForward {
  const { hidden_size: hiddenSize, hidden_activation, intermediate_size: intermediateSize } = sizes;
  const shape = { hiddenSize, activation: hidden_activation };
  const mlp = gatedMlp(`${layer}.mlp`, { ...shape, intermediateSize });
  if (!sizes.enable_moe_block) return mlp;
  const norm = (name: string) => rmsNorm(`${layer}.${name}`, hiddenSize, sizes.rms_norm_eps);
  const { num_experts, top_k_experts, moe_intermediate_size } = sizes;
  if (!num_experts || !top_k_experts || !moe_intermediate_size) {
    throw new MalformedModelError(
      'config.json: "enable_moe_block" needs "num_experts", "top_k_experts" and "moe_intermediate_size".',
    );
  }
  const mixture: Experts = experts(tensors, {
    module: layer,
    names: EXPERT_NAMES,
    routerName: "router.proj",
    count: num_experts,
    topK: top_k_experts,
    normalizeTopK: true,
    shape: { ...shape, intermediateSize: moe_intermediate_size },
    shared: { mlp, gate: null },
  });
  const scaled = { ...plainNorm(hiddenSize, sizes.rms_norm_eps), weight: `${layer}.router.scale` };
  return {
    ...mixture,
    expertScales: `${layer}.router.per_expert_scale`,
    apart: {
      router: { norm: scaled, factor: hiddenSize ** -0.5 },
      sharedInput: norm("pre_feedforward_layernorm"),
      sharedOutput: norm("post_feedforward_layernorm_1"),
      output: norm("post_feedforward_layernorm_2"),
    },
  };
}
