import * as v from "valibot";
import {
  activation,
  type Config,
  epsilon,
  flag,
  isRecord,
  positive,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderBody,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  type MlpShape,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { FeedForward } from "../../decoder-description.ts";
import type { Rotary } from "../../mixer-description.ts";

/** Fields of both of HunYuan's models. */
export const hunyuanFields = {
  ...sizeFields({
    vocab_size: 290_943,
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
  tie_word_embeddings: v.optional(flag, false),
};
const schema = v.object(hunyuanFields);

/** transformers `modeling_hunyuan_v1_dense.py`: Llama whose heads are normed after they were rotated. */
export const describeHunyuanDense: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const mlp = hunyuanMlp(sizes);
  return hunyuanBody(config, tensors, sizes, (layer) => gatedMlp(`${layer}.mlp`, mlp));
};

type HunyuanSizes = v.InferOutput<typeof schema>;

/** HunYuan's layers around a feed-forward of one kind or the other. */
export function hunyuanBody(
  config: Config,
  tensors: DecoderTensors,
  sizes: HunyuanSizes,
  feedForward: (layer: string, index: number) => FeedForward,
): DecoderBody {
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readHunyuanRotary(config, shape.headDim, sizes.max_position_embeddings);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attention(`${layer}.self_attn`, {
          ...shape,
          hiddenSize,
          rotary,
          bias,
          outputBias: bias,
          queryNorm: rmsNorm(`${layer}.self_attn.query_layernorm`, shape.headDim, eps),
          keyNorm: rmsNorm(`${layer}.self_attn.key_layernorm`, shape.headDim, eps),
          normAfterRotary: true,
        }),
      ],
      feedForward: feedForward(layer, index),
    })),
  };
}

/** Shape of the MLP, and of each expert. */
export function hunyuanMlp(sizes: HunyuanSizes): MlpShape {
  const { hidden_size: hiddenSize, intermediate_size: intermediateSize, hidden_act } = sizes;
  return { hiddenSize, intermediateSize, activation: hidden_act };
}

const alphaSchema = v.object({
  rope_type: v.nullish(v.string()),
  type: v.nullish(v.string()),
  rope_theta: v.nullish(positive),
  alpha: v.nullish(positive),
});

/** The rotation of HunYuan's models: "dynamic" with an `alpha` means a larger base, whatever the length. */
function readHunyuanRotary(config: Config, headDim: number, maxPositions: number): Rotary {
  const request = { headDim, maxPositions, defaultTheta: 10_000 };
  const part = config["rope_parameters"] ?? config["rope_scaling"];
  const { rope_type, type, rope_theta, alpha } = readFields(alphaSchema, isRecord(part) ? part : {});
  if ((rope_type ?? type) !== "dynamic" || !alpha) return readRotary(config, request);
  const { rope_theta: outer } = readFields(alphaSchema, config);
  const theta = (rope_theta ?? outer ?? request.defaultTheta) * alpha ** (headDim / (headDim - 2));
  return readRotary({ rope_theta: theta }, request);
}
