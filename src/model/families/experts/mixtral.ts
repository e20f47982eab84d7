import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  expertCount,
  flag,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { experts } from "../../parts/expert-parts.ts";
import { windowOfAll } from "../../parts/layer-types.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: null,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  sliding_window: v.nullish(count()),
  num_local_experts: v.optional(expertCount, 8),
  num_experts_per_tok: v.optional(expertCount, 2),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_mixtral.py`: Mistral with experts (w1 gate, w3 up, w2 down) whose weights sum to one. */
export const describeMixtral: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 1_000_000,
  });
  const slidingWindow = windowOfAll(sizes.sliding_window);
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer) => ({
      norms: preNorms(layer, norm),
      mixers: [attention(`${layer}.self_attn`, { ...shape, hiddenSize, rotary, slidingWindow })],
      feedForward: experts(tensors, {
        ...blockNames(layer, tensors.has(`${layer}.mlp.gate.weight`)),
        count: sizes.num_local_experts,
        topK: sizes.num_experts_per_tok,
        normalizeTopK: true,
        shape: {
          hiddenSize,
          intermediateSize: sizes.intermediate_size,
          activation: sizes.hidden_act,
        },
      }),
    })),
  };
};

/** Files have the original names, unless they were written from transformers 5's modules as they are. */
function blockNames(layer: string, renamed: boolean) {
  return renamed
    ? { module: `${layer}.mlp`, names: { gate: "gate_proj", up: "up_proj", down: "down_proj" } }
    : { module: `${layer}.block_sparse_moe`, names: { gate: "w1", up: "w3", down: "w2" } };
}
