import * as v from "valibot";
import { activation, count, epsilon, flag, readFields, sizeFields } from "../../parts/config-fields.ts";
import {
  attentionWith,
  type DescribeFamily,
  headShape,
  layers,
  linear,
  mlpWith,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { windowOfAll } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 32_064,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 4096,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  sliding_window: v.nullish(count()),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_phi3.py`: q, k and v in one Linear, gate and up in another. */
export const describePhi3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, intermediate_size: intermediateSize } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    partial: true,
    typeAliases: { su: "longrope", yarn: "longrope" },
    defaultOriginalMaxPositions: 4096,
  });
  const slidingWindow = windowOfAll(sizes.sliding_window);
  const qkvRows = (shape.heads + 2 * shape.kvHeads) * shape.headDim;
  const mlp = { hiddenSize, intermediateSize, activation: sizes.hidden_act };
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [
        attentionWith(
          `${layer}.self_attn`,
          {
            kind: "fused",
            queryKeyValue: linear(`${layer}.self_attn.qkv_proj`, qkvRows, hiddenSize),
            groups: 1,
          },
          { ...shape, hiddenSize, rotary, slidingWindow },
        ),
      ],
      feedForward: mlpWith(
        {
          kind: "fused",
          gateUp: linear(`${layer}.mlp.gate_up_proj`, 2 * intermediateSize, hiddenSize),
        },
        linear(`${layer}.mlp.down_proj`, hiddenSize, intermediateSize),
        mlp,
      ),
    })),
  };
};
