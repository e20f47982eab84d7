import * as v from "valibot";
import { activation, type Config, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderBody,
  type DecoderTensors,
  type DescribeFamily,
  fusedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 151_552,
    hidden_size: 4096,
    intermediate_size: 13_696,
    num_hidden_layers: 40,
    num_attention_heads: 32,
    num_key_value_heads: 2,
    head_dim: 128,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1.5625e-7),
  attention_bias: v.optional(flag, true),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_glm.py`: gate and up in one Linear, neighbouring pairs of half of each head rotated. */
export const describeGlm: DescribeFamily = (config, tensors) => describe(config, tensors, preNorms);

/** transformers `modeling_glm4.py`: GLM with norms at the blocks' outputs, too. */
export const describeGlm4: DescribeFamily = (config, tensors) =>
  describe(config, tensors, (layer, norm) => ({
    ...preNorms(layer, norm),
    mixerOutput: norm(`${layer}.post_self_attn_layernorm`),
    feedForwardOutput: norm(`${layer}.post_mlp_layernorm`),
  }));

function describe(config: Config, tensors: DecoderTensors, norms: typeof preNorms): DecoderBody {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    defaultPartial: 0.5,
    interleaved: true,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: norms(layer, norm),
      mixers: [attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, bias })],
      feedForward: fusedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
      }),
    })),
  };
}
