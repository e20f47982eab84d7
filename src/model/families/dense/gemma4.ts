import * as v from "valibot";
import { MalformedModelError } from "../../../errors.ts";
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
} from "../../parts/config-fields.ts";
import {
  attention,
  attentionWith,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  type HeadShape,
  headShape,
  layers,
  linear,
  plainNorm,
  rmsNorm,
  sandwichNorms,
} from "../../parts/decoder-parts.ts";
import type { Experts, FeedForward, LayerNorms, TokenBlock, TokenInputs } from "../../decoder-description.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { resolveLayerTypes } from "../../parts/layer-types.ts";
import { type LayerType, readRotary } from "../../parts/rotary-parameters.ts";
import type { Attention, Rotary } from "../../mixer-description.ts";
import type { Norm } from "../../weight-description.ts";

const headFields = { head_dim: v.nullish(headDimField), num_key_value_heads: v.nullish(headCount) };

/** Zero where there are none. */
const perLayerSize = v.union([v.literal(0), headDimField]);

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
  hidden_size_per_layer_input: v.nullish(perLayerSize, 256),
  vocab_size_per_layer_input: v.nullish(count(), 262_144),
  num_kv_shared_layers: v.nullish(count(), 0),
  use_double_wide_mlp: v.optional(flag, false),
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
  const { hidden_size: hiddenSize, rms_norm_eps: eps } = sizes;
  const types = typesOf(sizes);
  const sharing = sharingOf(sizes, types);
  const rotaryOf = rotaries(config, sizes);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    embeddingMultiplier: embeddingScale(hiddenSize),
    tokenInputs: tokenInputsOf(tensors, sizes),
    logitSoftCap: sizes.final_logit_softcapping ?? null,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => {
      const type = types[index] ?? "full_attention";
      const shape = headsOf(sizes, index, type === "full_attention");
      const place = { type, shape, isTaker: index >= sharing.first, carried: sharing.columnOf(index) };
      return {
        norms: normsOf(layer, sizes, norm),
        mixers: [attentionOf(`${layer}.self_attn`, sizes, place, rotaryOf(type, shape.headDim))],
        feedForward: feedForwardOf(tensors, layer, sizes, place.isTaker),
        outputScale: `${layer}.layer_scalar`,
        tokenBlock: tokenBlockOf(layer, sizes, norm),
        carriedSize: sharing.size,
        unread: place.isTaker ? UNREAD.map((name) => `${layer}.self_attn.${name}`) : [],
      };
    }),
  };
};

interface LayerPlace {
  readonly type: LayerType;
  readonly shape: HeadShape;
  /** True for layers that take keys and values of an earlier one. */
  readonly isTaker: boolean;
  readonly carried: number | null;
}

function attentionOf(module: string, sizes: Sizes, place: LayerPlace, rotary: Rotary): Attention {
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const { type, shape, isTaker, carried } = place;
  const isFull = type === "full_attention";
  const headNorm = (name: string) => rmsNorm(`${module}.${name}`, shape.headDim, eps);
  const both = {
    ...shape,
    hiddenSize,
    rotary,
    outputBias: bias,
    queryNorm: headNorm("q_norm"),
    scale: 1,
    slidingWindow: isFull ? null : sizes.sliding_window,
    carried,
  };
  if (isTaker) {
    const query = linear(`${module}.q_proj`, shape.heads * shape.headDim, hiddenSize, bias);
    return attentionWith(module, { kind: "query", query }, both);
  }
  return attention(module, {
    ...both,
    bias,
    keyNorm: headNorm("k_norm"),
    valueNorm: plainNorm(shape.headDim, eps),
    keysAreValues: sizes.attention_k_eq_v && isFull,
  });
}

/** What transformers drops of layers that share keys and values. */
const UNREAD = ["k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias", "k_norm.weight"];

interface Sharing {
  /** The first layer that takes keys and values of an earlier one. */
  readonly first: number;
  /** Values that rows of hidden states carry. */
  readonly size: number;
  /** Where a layer puts its keys and values, or finds another's; null if it does neither. */
  columnOf(index: number): number | null;
}

/**
 * The last layers take keys and values of the last layer of their type before them.
 * @throws MalformedModelError if there is none
 */
function sharingOf(sizes: Sizes, types: readonly LayerType[]): Sharing {
  const { num_hidden_layers: all, num_kv_shared_layers: sharers, hidden_size: hiddenSize } = sizes;
  const first = all - sharers;
  const columns = new Map<number, number>();
  let column = hiddenSize;
  for (const type of new Set(types.slice(Math.max(first, 0)))) {
    const giver = types.slice(0, Math.max(first, 0)).lastIndexOf(type);
    if (giver < 0) {
      throw new MalformedModelError(
        `config.json: "num_kv_shared_layers" is ${sharers} of ${all} layers, which leaves no layer of the type ${type} to share keys and values of.`,
      );
    }
    const { kvHeads, headDim } = headsOf(sizes, giver, type === "full_attention");
    columns.set(giver, column);
    for (let taker = first; taker < all; taker++) if (types[taker] === type) columns.set(taker, column);
    column += 2 * kvHeads * headDim;
  }
  return { first, size: column - hiddenSize, columnOf: (index) => columns.get(index) ?? null };
}

function tokenBlockOf(layer: string, sizes: Sizes, norm: (module: string) => Norm): TokenBlock | null {
  const { hidden_size: hiddenSize, hidden_size_per_layer_input: size, hidden_activation } = sizes;
  if (size === 0) return null;
  return {
    gate: linear(`${layer}.per_layer_input_gate`, size, hiddenSize),
    activation: hidden_activation,
    projection: linear(`${layer}.per_layer_projection`, hiddenSize, size),
    norm: norm(`${layer}.post_per_layer_input_norm`),
  };
}

function tokenInputsOf({ prefix }: DecoderTensors, sizes: Sizes): TokenInputs | null {
  const { hidden_size: hiddenSize, hidden_size_per_layer_input: size, rms_norm_eps: eps } = sizes;
  if (size === 0) return null;
  if (sizes.vocab_size_per_layer_input !== sizes.vocab_size) {
    throw unsupportedField("vocab_size_per_layer_input", sizes.vocab_size_per_layer_input);
  }
  return {
    size,
    projection: linear(`${prefix}per_layer_model_projection`, size * sizes.num_hidden_layers, hiddenSize),
    scale: hiddenSize ** -0.5,
    norm: rmsNorm(`${prefix}per_layer_projection_norm`, size, eps),
    table: { tensor: `${prefix}embed_tokens_per_layer.weight`, multiplier: Math.sqrt(size) },
    factor: Math.SQRT1_2,
  };
}

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
  const given = (config["rope_parameters"] ?? null) === null ? { ...config, ...DEFAULT_ROPE } : config;
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

function feedForwardOf(tensors: DecoderTensors, layer: string, sizes: Sizes, isTaker: boolean): FeedForward {
  const { hidden_size: hiddenSize, hidden_activation } = sizes;
  const shape = { hiddenSize, activation: hidden_activation };
  const intermediateSize = sizes.intermediate_size * (sizes.use_double_wide_mlp && isTaker ? 2 : 1);
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
