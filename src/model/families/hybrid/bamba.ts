import * as v from "valibot";
import { epsilon, flag, layerNumbers, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import { mamba2, mambaFields, mambaShape } from "../../parts/mixer-parts.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 128_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: null,
    max_position_embeddings: 262_144,
  }),
  ...mambaFields,
  // Mamba's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  mlp_bias: v.optional(flag, false),
  attn_layer_indices: v.nullish(layerNumbers),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_bamba.py`: Mamba-2 in most layers, attention in the others, an MLP in all. */
export const describeBamba: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    defaultPartial: 0.5,
  });
  const inner = Math.trunc(sizes.mamba_expand * hiddenSize);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const mamba = (module: string) =>
    mamba2(module, mambaShape(sizes, { norm: rmsNorm(`${module}.norm`, inner, eps), isBeforeGate: false }));
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}final_layernorm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: {
        mixerInput: norm(`${layer}.input_layernorm`),
        mixerOutput: null,
        feedForwardInput: norm(`${layer}.pre_ff_layernorm`),
        feedForwardOutput: null,
      },
      mixers: [
        sizes.attn_layer_indices?.includes(index)
          ? attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, bias, outputBias: bias })
          : mamba(`${layer}.mamba`),
      ],
      feedForward: gatedMlp(`${layer}.feed_forward`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
        bias: sizes.mlp_bias,
      }),
    })),
  };
};
