import * as v from "valibot";
import {
  type Config,
  epsilon,
  expertCount,
  flag,
  intermediateSize,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderBody,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts, qwenSharedExpert } from "../../parts/expert-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { FeedForward } from "../../decoder-description.ts";
import { deltaFields, gatedDeltaNet, hasDelta } from "../../parts/mixer-parts.ts";

const fields = {
  ...sizeFields({
    vocab_size: 248_320,
    hidden_size: 4096,
    intermediate_size: 12_288,
    num_hidden_layers: 32,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 32_768,
  }),
  ...deltaFields,
  // The delta rule's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, false),
};
const schema = v.object(fields);

const mixtureSchema = v.object({
  ...fields,
  ...sizeFields({
    vocab_size: 248_320,
    hidden_size: 2048,
    intermediate_size: 512,
    num_hidden_layers: 40,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    head_dim: 256,
    max_position_embeddings: 32_768,
  }),
  moe_intermediate_size: v.optional(intermediateSize, 512),
  shared_expert_intermediate_size: v.optional(intermediateSize, 512),
  num_experts: v.optional(expertCount, 256),
  num_experts_per_tok: v.optional(expertCount, 8),
});

/** transformers `modeling_qwen3_5.py`, the text model: the gated delta rule in most layers, gated attention in the others. */
export const describeQwen35: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, intermediate_size: inner, hidden_act: act } = sizes;
  return gatedDeltaBody(config, tensors, sizes, (layer) =>
    gatedMlp(`${layer}.mlp`, { hiddenSize, intermediateSize: inner, activation: act }),
  );
};

/** transformers `modeling_qwen3_5_moe.py`, the text model: the same with experts and a shared one. */
export const describeQwen35Moe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(mixtureSchema, config);
  const { hidden_size: hiddenSize, hidden_act: act } = sizes;
  return gatedDeltaBody(config, tensors, sizes, (layer) =>
    experts(tensors, {
      module: `${layer}.mlp`,
      names: EXPERT_NAMES,
      count: sizes.num_experts,
      topK: sizes.num_experts_per_tok,
      normalizeTopK: true,
      shape: { hiddenSize, intermediateSize: sizes.moe_intermediate_size, activation: act },
      shared: qwenSharedExpert(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.shared_expert_intermediate_size,
        activation: act,
      }),
    }),
  );
};

/** The gated delta rule in most layers, gated attention in the others, around the family's feed-forward (Qwen3-Next, Qwen3.5). */
export function gatedDeltaBody(
  config: Config,
  tensors: DecoderTensors,
  sizes: v.InferOutput<typeof schema>,
  feedForward: (layer: string, index: number) => FeedForward,
): DecoderBody {
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    defaultPartial: 0.25,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps, 1);
  const headNorm = (module: string) => rmsNorm(module, shape.headDim, sizes.rms_norm_eps, 1);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [
        hasDelta(sizes, index)
          ? gatedDeltaNet(tensors, `${layer}.linear_attn`, sizes)
          : attention(`${layer}.self_attn`, {
              ...shape,
              hiddenSize,
              rotary,
              bias,
              outputBias: bias,
              queryNorm: headNorm(`${layer}.self_attn.q_norm`),
              keyNorm: headNorm(`${layer}.self_attn.k_norm`),
              gate: { kind: "with-queries" },
            }),
      ],
      feedForward: feedForward(layer, index),
    })),
  };
}
