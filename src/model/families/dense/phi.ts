import * as v from "valibot";
import { activation, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layerNorm,
  layers,
  plainMlp,
  sharedNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 51_200,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  hidden_act: v.optional(activation, "gelu_new"),
  layer_norm_eps: v.optional(epsilon, 1e-5),
  qk_layernorm: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_phi.py`: parallel blocks, layer norms and biases, half of each head rotated. */
export const describePhi: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, layer_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    defaultPartial: 0.5,
  });
  const norm = (module: string) => layerNorm(module, hiddenSize, eps, true);
  const headNorm = (module: string) =>
    sizes.qk_layernorm ? layerNorm(module, shape.headDim, eps, true) : null;
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    headBias: true,
    finalNorm: norm(`${tensors.prefix}final_layernorm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: sharedNorm(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias: true,
          outputBias: true,
          outputName: "dense",
          queryNorm: headNorm(`${layer}.self_attn.q_layernorm`),
          keyNorm: headNorm(`${layer}.self_attn.k_layernorm`),
        }),
      ],
      feedForward: plainMlp(
        `${layer}.mlp`,
        {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
          bias: true,
        },
        { up: "fc1", down: "fc2" },
      ),
      parallel: true,
    })),
  };
};
