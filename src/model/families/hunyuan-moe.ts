import * as v from "valibot";
import { activation, epsilon, flag, readFields, sizeFields, expertCount } from "../config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  preNorms,
  rmsNorm,
} from "../decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../expert-parts.ts";
import { readHunyuanRotary } from "./hunyuan-dense.ts";

/** One number, or one a layer. */
const perLayer = v.union([expertCount, v.pipe(v.array(expertCount), v.maxLength(1024))]);

const schema = v.object({
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
  num_experts: v.optional(perLayer, 1),
  moe_topk: v.optional(perLayer, 1),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_hunyuan_v1_moe.py`: HunYuan with experts and one that sees every token. */
export const describeHunyuanMoe: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readHunyuanRotary(config, shape.headDim, sizes.max_position_embeddings);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const mlp = {
    hiddenSize,
    intermediateSize: sizes.intermediate_size,
    activation: sizes.hidden_act,
  };
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
      feedForward: experts(tensors, {
        module: `${layer}.mlp`,
        names: EXPERT_NAMES,
        routerName: "gate.wg",
        count: valueOf(sizes.num_experts, index),
        topK: valueOf(sizes.moe_topk, index),
        normalizeTopK: true,
        shape: mlp,
        shared: { mlp: gatedMlp(`${layer}.mlp.shared_mlp`, mlp), gate: null },
      }),
    })),
  };
};

function valueOf(setting: number | readonly number[], layer: number): number {
  return typeof setting === "number" ? setting : (setting[layer] ?? 0);
}
