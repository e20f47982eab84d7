import * as v from "valibot";
import { activation, epsilon, flag, layerTypes, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderBody,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  postNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import type { Attention } from "../../mixer-description.ts";
import { requireFullAttention } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

/** Fields of OLMo 2 and 3. */
export const olmoFields = {
  ...sizeFields({
    vocab_size: 50_304,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, false),
};
const schema = v.object(olmoFields);

/** transformers `modeling_olmo2.py`: norms after the blocks, and over all queries and all keys of a token at once. */
export const describeOlmo2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const rotary = readRotary(config, {
    headDim: headShape(sizes).headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  requireFullAttention(sizes.layer_types);
  return olmoBody(tensors, sizes, () => ({ rotary, slidingWindow: null }));
};

/** OLMo's layers; a layer's positions and window are its own. */
export function olmoBody(
  tensors: DecoderTensors,
  sizes: v.InferOutput<typeof schema>,
  attentionOf: (index: number) => Pick<Attention, "rotary" | "slidingWindow">,
): DecoderBody {
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: postNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.heads * shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.kvHeads * shape.headDim, eps),
          ...attentionOf(index),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
      }),
    })),
  };
}
