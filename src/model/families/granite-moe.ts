import * as v from "valibot";
import {
  activation,
  epsilon,
  expertCount,
  finite,
  flag,
  positive,
  readFields,
  sizeFields,
} from "../config-fields.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../expert-parts.ts";
import { readRotary } from "../rotary-parameters.ts";
import type { Activation, Experts } from "../decoder-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  attention_multiplier: v.optional(finite, 1),
  embedding_multiplier: v.optional(finite, 1),
  logits_scaling: v.optional(positive, 1),
  residual_multiplier: v.optional(finite, 1),
  num_local_experts: v.optional(expertCount, 8),
  num_experts_per_tok: v.optional(expertCount, 2),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_granitemoe.py`: Granite with experts, whose weights are a softmax over the chosen ones. */
export const describeGraniteMoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    embeddingMultiplier: sizes.embedding_multiplier,
    logitScale: 1 / sizes.logits_scaling,
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          scale: sizes.attention_multiplier,
        }),
      ],
      feedForward: graniteExperts(tensors, `${layer}.block_sparse_moe`, sizes),
      residualMultiplier: sizes.residual_multiplier,
    })),
  };
};

export interface GraniteExpertSettings {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly hidden_act: Activation;
  readonly num_local_experts: number;
  readonly num_experts_per_tok: number;
}

/** Experts under the names of Granite's models. */
export function graniteExperts(
  tensors: DecoderTensors,
  module: string,
  settings: GraniteExpertSettings,
): Experts {
  return experts(tensors, {
    module,
    names: EXPERT_NAMES,
    stacked: { gateUp: "input_linear.weight", down: "output_linear.weight" },
    routerName: "router.layer",
    count: settings.num_local_experts,
    topK: settings.num_experts_per_tok,
    normalizeTopK: true,
    shape: {
      hiddenSize: settings.hidden_size,
      intermediateSize: settings.intermediate_size,
      activation: settings.hidden_act,
    },
  });
}
