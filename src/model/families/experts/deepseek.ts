import * as v from "valibot";
import {
  activation,
  aligned,
  type Config,
  count,
  epsilon,
  finite,
  flag,
  intermediateSize,
  isRecord,
  positive,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  type DecoderBody,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  layers,
  linear,
  type MlpShape,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { groupedRouterFields, groupsOf, sigmoidExperts } from "../../parts/expert-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { Experts } from "../../decoder-description.ts";
import type { LatentAttention, Rotary } from "../../mixer-description.ts";

const fields = {
  ...sizeFields({
    vocab_size: 129_280,
    hidden_size: 7168,
    intermediate_size: 18_432,
    num_hidden_layers: 61,
    num_attention_heads: 128,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 4096,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  ...groupedRouterFields({
    experts: 256,
    shared: 1,
    topK: 8,
    groups: 8,
    keptGroups: 4,
    normalizeTopK: true,
    scale: 2.5,
  }),
  moe_intermediate_size: v.optional(intermediateSize, 2048),
  first_k_dense_replace: v.nullish(count(), 3),
  q_lora_rank: v.optional(v.nullable(aligned(131_072)), 1536),
  kv_lora_rank: v.optional(aligned(131_072), 512),
  qk_rope_head_dim: v.optional(aligned(1024), 64),
  qk_nope_head_dim: v.optional(aligned(1024), 128),
  v_head_dim: v.optional(aligned(1024), 128),
  rope_interleave: v.optional(flag, true),
  tie_word_embeddings: v.optional(flag, false),
};
const schema = v.object(fields);

const v2Schema = v.object({
  ...fields,
  ...sizeFields({
    vocab_size: 102_400,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  ...groupedRouterFields({
    experts: 64,
    shared: 2,
    topK: null,
    groups: null,
    keptGroups: null,
    normalizeTopK: false,
    scale: 1,
  }),
  moe_intermediate_size: v.optional(intermediateSize, 1407),
  first_k_dense_replace: v.nullish(count(), 0),
  topk_method: v.optional(v.picklist(["greedy", "group_limited_greedy"]), "greedy"),
  mlp_bias: v.optional(flag, false),
});

type Sizes = v.InferOutput<typeof schema>;

/** transformers `modeling_deepseek_v2.py`: latent attention, experts by a softmax whose weights are not normalized. */
export const describeDeepseekV2: DescribeFamily = (config, tensors) => {
  const sizes = readFields(v2Schema, config);
  const groups = sizes.topk_method === "group_limited_greedy" ? groupsOf(sizes, "best") : null;
  return describe(config, tensors, sizes, (module, shape) => {
    const mixture = sigmoidExperts(tensors, module, sizes, shape);
    return { ...mixture, scoring: "softmax", correction: null, groups, normalizeTopK: false };
  });
};

/** transformers `modeling_deepseek_v3.py`: latent attention, experts by corrected sigmoids in groups. */
export const describeDeepseekV3: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  return describe(config, tensors, sizes, (module, shape) => sigmoidExperts(tensors, module, sizes, shape));
};

function describe(
  config: Config,
  tensors: DecoderTensors,
  sizes: Sizes,
  mixture: (module: string, shape: MlpShape) => Experts,
): DecoderBody {
  const { hidden_size: hiddenSize } = sizes;
  const rotary = readRotary(config, {
    headDim: sizes.qk_rope_head_dim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
    interleaved: sizes.rope_interleave,
  });
  const attention = latentAttention(sizes, rotary, scaleOf(config, sizes));
  const norm = (module: string) => rmsNorm(module, hiddenSize, sizes.rms_norm_eps);
  const mlp = { hiddenSize, activation: sizes.hidden_act };
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [attention(`${layer}.self_attn`)],
      feedForward:
        index >= (sizes.first_k_dense_replace ?? 0)
          ? mixture(`${layer}.mlp`, { ...mlp, intermediateSize: sizes.moe_intermediate_size })
          : gatedMlp(`${layer}.mlp`, { ...mlp, intermediateSize: sizes.intermediate_size }),
    })),
  };
}

/** The latents' norms have transformers' default, whatever config.json says. */
const LATENT_EPS = 1e-6;

function latentAttention(sizes: Sizes, rotary: Rotary, scale: number): (module: string) => LatentAttention {
  const { hidden_size: hiddenSize, num_attention_heads: heads, attention_bias: bias } = sizes;
  const { q_lora_rank: queryRank, kv_lora_rank: rank, qk_rope_head_dim: rotaryDim } = sizes;
  const { qk_nope_head_dim: ownDim, v_head_dim: valueDim } = sizes;
  const headDim = ownDim + rotaryDim;
  return (module) => ({
    kind: "latent-attention",
    module,
    heads,
    headDim,
    rotaryDim,
    valueDim,
    rank,
    query:
      queryRank === null
        ? { kind: "direct", linear: linear(`${module}.q_proj`, heads * headDim, hiddenSize) }
        : {
            kind: "low-rank",
            down: linear(`${module}.q_a_proj`, queryRank, hiddenSize, bias),
            norm: rmsNorm(`${module}.q_a_layernorm`, queryRank, LATENT_EPS),
            up: linear(`${module}.q_b_proj`, heads * headDim, queryRank),
          },
    keyValueDown: linear(`${module}.kv_a_proj_with_mqa`, rank + rotaryDim, hiddenSize, bias),
    keyValueNorm: rmsNorm(`${module}.kv_a_layernorm`, rank, LATENT_EPS),
    keyValueUp: linear(`${module}.kv_b_proj`, heads * (ownDim + valueDim), rank),
    rotary,
    scale,
    output: linear(`${module}.o_proj`, hiddenSize, heads * valueDim, bias),
  });
}

const yarnSchema = v.object({
  rope_type: v.nullish(v.string()),
  type: v.nullish(v.string()),
  factor: v.nullish(positive),
  mscale_all_dim: v.nullish(finite),
});

/** Scores grow with the extension of the context where `mscale_all_dim` says so. */
function scaleOf(config: Config, sizes: Sizes): number {
  const plain = (sizes.qk_nope_head_dim + sizes.qk_rope_head_dim) ** -0.5;
  const part = config["rope_parameters"] ?? config["rope_scaling"];
  const { rope_type, type, factor, mscale_all_dim } = readFields(yarnSchema, isRecord(part) ? part : {});
  if ((rope_type ?? type ?? "default") === "default" || !mscale_all_dim || !factor || factor <= 1)
    return plain;
  return plain * (0.1 * mscale_all_dim * Math.log(factor) + 1) ** 2;
}
