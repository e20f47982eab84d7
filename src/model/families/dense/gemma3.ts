import * as v from "valibot";
import {
  activation,
  count,
  embeddingScale,
  epsilon,
  flag,
  isRecord,
  layerTypes,
  positive,
  readFields,
  sizeFields,
  type Config,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  rmsNorm,
  sandwichNorms,
} from "../../parts/decoder-parts.ts";
import { resolveLayerTypes, windowOf } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 262_208,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 131_072,
  }),
  hidden_activation: v.nullish(activation, "gelu_pytorch_tanh"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  query_pre_attn_scalar: v.optional(positive, 256),
  sliding_window: v.optional(v.nullable(count()), 4096),
  sliding_window_pattern: v.nullish(v.pipe(count(), v.minValue(1)), 6),
  layer_types: v.nullish(layerTypes),
  final_logit_softcapping: v.nullish(positive),
  attn_logit_softcapping: v.nullish(positive),
  tie_word_embeddings: v.optional(flag, true),
});

/** transformers `modeling_gemma3.py`, the text model: Gemma 2 with normed heads and a rotary base for each layer type. */
export const describeGemma3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotaries(config, shape.headDim, sizes.max_position_embeddings);
  const types = resolveLayerTypes(sizes.layer_types, sizes.num_hidden_layers, (index) =>
    (index + 1) % sizes.sliding_window_pattern === 0 ? "full_attention" : "sliding_attention",
  );
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps, 1);
  const headNorm = (module: string) => rmsNorm(module, shape.headDim, sizes.rms_norm_eps, 1);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    embeddingMultiplier: embeddingScale(hiddenSize),
    logitSoftCap: sizes.final_logit_softcapping ?? null,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: sandwichNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary: rotary[types[index] ?? "full_attention"],
          bias,
          outputBias: bias,
          queryNorm: headNorm(`${layer}.self_attn.q_norm`),
          keyNorm: headNorm(`${layer}.self_attn.k_norm`),
          scale: sizes.query_pre_attn_scalar ** -0.5,
          slidingWindow: windowOf(types[index], sizes.sliding_window),
        }),
      ],
      feedForward: gatedMlp(`${layer}.mlp`, {
        hiddenSize,
        intermediateSize: sizes.intermediate_size,
        activation: sizes.hidden_activation,
      }),
    })),
  };
};

/** v5 has one part for each layer type; v4 has `rope_theta` and `rope_scaling` for full layers, another base for windows. */
function readRotaries(config: Config, headDim: number, maxPositions: number) {
  const parts = isRecord(config["rope_parameters"]) ? config["rope_parameters"] : {};
  const windowed = {
    rope_theta: config["rope_local_base_freq"],
    rope_parameters: { sliding_attention: parts["sliding_attention"] ?? {} },
  };
  return {
    full_attention: readRotary(config, { headDim, maxPositions, defaultTheta: 1_000_000 }),
    sliding_attention: readRotary(windowed, {
      headDim,
      maxPositions,
      defaultTheta: 10_000,
      layerType: "sliding_attention",
    }),
  };
}
