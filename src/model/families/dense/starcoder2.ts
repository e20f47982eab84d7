import * as v from "valibot";
import { activation, count, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layerNorm,
  layers,
  linear,
  mlpWith,
  preNorms,
} from "../../parts/decoder-parts.ts";
import { windowOfAll } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 49_152,
    hidden_size: 3072,
    intermediate_size: 12_288,
    num_hidden_layers: 30,
    num_attention_heads: 24,
    num_key_value_heads: 2,
    head_dim: null,
    max_position_embeddings: 4096,
  }),
  hidden_act: v.optional(activation, "gelu_pytorch_tanh"),
  norm_epsilon: v.optional(epsilon, 1e-5),
  use_bias: v.optional(flag, true),
  sliding_window: v.nullish(count()),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_starcoder2.py`: layer norms, biases, and an MLP of two Linears. */
export const describeStarcoder2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, intermediate_size: intermediateSize, use_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const slidingWindow = windowOfAll(sizes.sliding_window);
  const mlp = { hiddenSize, intermediateSize, activation: sizes.hidden_act };
  const norm = (module: string) => layerNorm(module, hiddenSize, sizes.norm_epsilon, true);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          slidingWindow,
        }),
      ],
      feedForward: mlpWith(
        { kind: "plain", up: linear(`${layer}.mlp.c_fc`, intermediateSize, hiddenSize, bias) },
        linear(`${layer}.mlp.c_proj`, hiddenSize, intermediateSize, bias),
        mlp,
      ),
    })),
  };
};
