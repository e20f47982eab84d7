import * as v from "valibot";
import { epsilon, flag, intermediateSize, readFields, sizeFields } from "../config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  linear,
  preNorms,
  rmsNorm,
} from "../decoder-parts.ts";
import { expertFields, hasExperts, qwenExperts } from "../expert-parts.ts";
import { readRotary } from "../rotary-parameters.ts";
import { deltaFields, gatedDeltaNet, hasDelta } from "../mixer-parts.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 48,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    head_dim: 256,
    max_position_embeddings: 32_768,
  }),
  ...deltaFields,
  ...expertFields({ experts: 512, topK: 10, size: 512 }),
  // The delta rule's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
  norm_topk_prob: v.optional(flag, true),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  shared_expert_intermediate_size: v.optional(intermediateSize, 512),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_qwen3_next.py`: the gated delta rule in most layers, gated attention in the others, experts and a shared one. */
export const describeQwen3Next: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, hidden_act: act } = sizes;
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
  const mlpOf = (module: string, intermediate: number) =>
    gatedMlp(module, { hiddenSize, intermediateSize: intermediate, activation: act });
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
      feedForward: hasExperts(sizes, index)
        ? {
            ...qwenExperts(tensors, `${layer}.mlp`, sizes, { hiddenSize, activation: act }),
            shared: {
              mlp: mlpOf(`${layer}.mlp.shared_expert`, sizes.shared_expert_intermediate_size),
              gate: linear(`${layer}.mlp.shared_expert_gate`, 1, hiddenSize),
            },
          }
        : mlpOf(`${layer}.mlp`, sizes.intermediate_size),
    })),
  };
};
