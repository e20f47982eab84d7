import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  finite,
  flag,
  isRecord,
  layerTypes,
  positions,
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
import { requireFullAttention, windowOfAll } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { AttentionTemperature } from "../../mixer-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 131_072,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 34,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 128,
    max_position_embeddings: 262_144,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  sliding_window: v.nullish(count()),
  layer_types: v.nullish(layerTypes),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_ministral3.py`: Mistral whose scores grow with the position. */
export const describeMinistral3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize } = sizes;
  const shape = headShape(sizes);
  const rope = config["rope_parameters"] ?? config["rope_scaling"] ?? defaultRope;
  const rotary = readRotary(
    { ...config, rope_parameters: rope },
    {
      headDim: shape.headDim,
      maxPositions: sizes.max_position_embeddings,
      defaultTheta: 1_000_000,
    },
  );
  const slidingWindow = windowOfAll(sizes.sliding_window);
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  requireFullAttention(sizes.layer_types);
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
          slidingWindow,
          temperature: readTemperature(rope),
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

/** What transformers takes where config.json says nothing. */
const defaultRope = {
  rope_type: "yarn",
  rope_theta: 1_000_000,
  factor: 16,
  original_max_position_embeddings: 16_384,
  beta_fast: 32,
  beta_slow: 1,
  mscale_all_dim: 1,
  mscale: 1,
  llama_4_scaling_beta: 0.1,
};

const temperatureSchema = v.object({
  llama_4_scaling_beta: v.nullish(finite),
  original_max_position_embeddings: v.nullish(positions),
});

function readTemperature(rope: unknown): AttentionTemperature | null {
  const fields = readFields(temperatureSchema, isRecord(rope) ? rope : {});
  const { llama_4_scaling_beta: slope, original_max_position_embeddings: every } = fields;
  return slope && every ? { slope, every, offset: 0 } : null;
}
