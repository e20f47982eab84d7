import * as v from "valibot";
import {
  activation,
  type Config,
  count,
  epsilon,
  flag,
  isRecord,
  layerTypes,
  readFields,
  sizeFields,
} from "../config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  postNorms,
  rmsNorm,
} from "../decoder-parts.ts";
import { resolveLayerTypes, windowOf } from "../layer-types.ts";
import { readRotary } from "../rotary-parameters.ts";

const schema = v.object({
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
  sliding_window: v.optional(v.nullable(count()), 4096),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_olmo3.py`: OLMo 2 with windows in most layers, and a scaled rotation in the others. */
export const describeOlmo3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotaries = readRotaries(config, shape.headDim, sizes.max_position_embeddings);
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    (index + 1) % 4 === 0 ? "full_attention" : "sliding_attention",
  );
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
          rotary: rotaries[types[index] ?? "full_attention"],
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.q_norm`, shape.heads * shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.k_norm`, shape.kvHeads * shape.headDim, eps),
          slidingWindow: windowOf(types[index], sizes.sliding_window),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_act,
      }),
    })),
  };
};

/** v4 has one part, whose scaling is for layers that see all; v5 has a part for each type. */
function readRotaries(config: Config, headDim: number, maxPositions: number) {
  const request = { headDim, maxPositions, defaultTheta: 500_000 };
  const parts = isRecord(config["rope_parameters"]) ? config["rope_parameters"] : {};
  const windowed = {
    rope_theta: config["rope_theta"],
    rope_parameters: { sliding_attention: parts["sliding_attention"] ?? {} },
  };
  return {
    full_attention: readRotary(config, request),
    sliding_attention: readRotary(windowed, { ...request, layerType: "sliding_attention" }),
  };
}
