import * as v from "valibot";
import {
  activation,
  count,
  epsilon,
  expertCount,
  finite,
  flag,
  intermediateSize,
  layerNumbers,
  positions,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import type { Experts } from "../../decoder-description.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  plainNorm,
  preNorms,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts } from "../../parts/expert-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 202_048,
    hidden_size: 5120,
    intermediate_size: 8192,
    num_hidden_layers: 48,
    num_attention_heads: 40,
    num_key_value_heads: 8,
    head_dim: 128,
    max_position_embeddings: 131_072,
  }),
  hidden_act: v.optional(activation, "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  intermediate_size_mlp: v.optional(intermediateSize, 16_384),
  num_local_experts: v.optional(expertCount, 16),
  num_experts_per_tok: v.optional(expertCount, 1),
  interleave_moe_layer_step: v.optional(v.pipe(count(), v.minValue(1)), 1),
  moe_layers: v.nullish(layerNumbers),
  use_qk_norm: v.optional(flag, true),
  no_rope_layers: v.nullish(v.pipe(v.array(v.picklist([0, 1])), v.maxLength(1024))),
  no_rope_layer_interval: v.optional(v.pipe(count(), v.minValue(1)), 4),
  attention_chunk_size: v.optional(v.nullable(positions), 8192),
  layer_types: v.nullish(
    v.pipe(v.array(v.picklist(["chunked_attention", "full_attention"])), v.maxLength(1024)),
  ),
  attn_temperature_tuning: v.optional(v.union([flag, v.picklist([0, 1, 4])]), true),
  floor_scale: v.optional(positions, 8192),
  attn_scale: v.optional(finite, 0.1),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_llama4.py`, the text model: chunks, some layers that see all without positions, weighed experts. */
export const describeLlama4: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 500_000,
    interleaved: true,
  });
  const { isRotated, isChunked, isSparse } = layerKinds(sizes);
  const temperature = sizes.attn_temperature_tuning
    ? ({ slope: sizes.attn_scale, every: sizes.floor_scale, offset: 1 } as const)
    : null;
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const mlp = { hiddenSize, activation: sizes.hidden_act };
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    layers: layers(tensors, sizes, (layer, index) => {
      const headNorm = isRotated(index) && sizes.use_qk_norm ? plainNorm(shape.headDim, eps) : null;
      return {
        norms: preNorms(layer, norm),
        mixers: [
          attention(`${layer}.self_attn`, {
            ...shape,
            hiddenSize,
            rotary: isRotated(index) ? rotary : null,
            bias,
            outputBias: bias,
            queryNorm: headNorm,
            keyNorm: headNorm,
            normAfterRotary: true,
            chunk: isChunked(index) ? sizes.attention_chunk_size : null,
            temperature: isRotated(index) ? null : temperature,
          }),
        ],
        feedForward: isSparse(index)
          ? mixture(tensors, `${layer}.feed_forward`, sizes)
          : gatedMlp(`${layer}.feed_forward`, { ...mlp, intermediateSize: sizes.intermediate_size_mlp }),
      };
    }),
  };
};

type Sizes = v.InferOutput<typeof schema>;

/** Which layers are rotated, see their chunk alone, and have experts. */
function layerKinds(sizes: Sizes) {
  const { no_rope_layers: listed, moe_layers: sparse } = sizes;
  const isRotated = (index: number) =>
    listed && listed.length > 0 ? listed[index] === 1 : (index + 1) % sizes.no_rope_layer_interval !== 0;
  return {
    isRotated,
    isChunked: (index: number) =>
      sizes.layer_types ? sizes.layer_types[index] === "chunked_attention" : isRotated(index),
    isSparse: (index: number) =>
      sparse ? sparse.includes(index) : (index + 1) % sizes.interleave_moe_layer_step === 0,
  };
}

function mixture(tensors: DecoderTensors, module: string, sizes: Sizes): Experts {
  const shape = {
    hiddenSize: sizes.hidden_size,
    intermediateSize: sizes.intermediate_size,
    activation: sizes.hidden_act,
  };
  return experts(tensors, {
    module,
    names: EXPERT_NAMES,
    routerName: "router",
    count: sizes.num_local_experts,
    topK: sizes.num_experts_per_tok,
    normalizeTopK: false,
    scoring: "sigmoid",
    weighsInputs: true,
    shape,
    shared: { mlp: gatedMlp(`${module}.shared_expert`, shape), gate: null },
  });
}
