import * as v from "valibot";
import {
  activation,
  embeddingScale,
  epsilon,
  flag,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 256_000,
    hidden_size: 3072,
    intermediate_size: 24_576,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    head_dim: 256,
    max_position_embeddings: 8192,
  }),
  hidden_act: v.optional(activation, "gelu_pytorch_tanh"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_gemma.py`: norms stored as w − 1, embeddings multiplied by √hidden. */
export const describeGemma: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps, 1);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    embeddingMultiplier: embeddingScale(hiddenSize),
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, bias, outputBias: bias })],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
      }),
    })),
  };
};
