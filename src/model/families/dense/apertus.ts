import * as v from "valibot";
import { epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layers,
  plainMlp,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { XieluActivation } from "../../decoder-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 131_072,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 65_536,
  }),
  hidden_act: v.optional(v.literal("xielu"), "xielu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_apertus.py`: normed heads, and an MLP of two Linears with xIELU. */
export const describeApertus: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(
    { ...config, rope_parameters: config["rope_parameters"] ?? defaultRope },
    {
      headDim: shape.headDim,
      maxPositions: sizes.max_position_embeddings,
      defaultTheta: 12_000_000,
    },
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: {
        mixerInput: norm(`${layer}.attention_layernorm`),
        mixerOutput: null,
        feedForwardInput: norm(`${layer}.feedforward_layernorm`),
        feedForwardOutput: null,
      },
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.headDim, eps),
        }),
      ],
      feedForward: plainMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: xieluOf(`${layer}.mlp.act_fn`),
      }),
    })),
  };
};

/** What transformers takes where config.json says nothing. */
const defaultRope = {
  rope_type: "llama3",
  rope_theta: 12_000_000,
  factor: 8,
  original_max_position_embeddings: 8192,
  low_freq_factor: 1,
  high_freq_factor: 4,
};

function xieluOf(module: string): XieluActivation {
  return {
    kind: "xielu",
    alphaP: `${module}.alpha_p`,
    alphaN: `${module}.alpha_n`,
    beta: `${module}.beta`,
    eps: `${module}.eps`,
  };
}
