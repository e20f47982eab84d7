import * as v from "valibot";
import {
  epsilon,
  expertCount,
  finite,
  flag,
  intermediateSize,
  positive,
  readFields,
  sizeFields,
} from "../config-fields.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  headShape,
  layers,
  linear,
  mlpWith,
  preNorms,
  rmsNorm,
} from "../decoder-parts.ts";
import { readRotary } from "../rotary-parameters.ts";
import type { FeedForward } from "../decoder-description.ts";
import { mamba2, mambaFields, mambaShape } from "../mixer-parts.ts";
import { graniteExperts } from "./granite-moe.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: null,
    head_dim: null,
    max_position_embeddings: 2048,
  }),
  ...mambaFields,
  // Mamba's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-6),
  attention_bias: v.optional(flag, false),
  attention_multiplier: v.optional(finite, 1),
  embedding_multiplier: v.optional(finite, 1),
  logits_scaling: v.optional(positive, 1),
  residual_multiplier: v.optional(finite, 1),
  num_local_experts: v.optional(expertCount, 8),
  num_experts_per_tok: v.optional(expertCount, 2),
  shared_intermediate_size: v.optional(intermediateSize, 1024),
  position_embedding_type: v.nullish(v.picklist(["rope", "nope"])),
  layer_types: v.nullish(
    v.pipe(
      v.array(v.picklist(["linear_attention", "mamba", "full_attention", "attention"])),
      v.maxLength(1024),
    ),
  ),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_granitemoehybrid.py`: Mamba-2 in most layers, attention in the others; experts beside an MLP that sees every token, or that alone. */
export const describeGraniteMoeHybrid: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const inner = Math.trunc(sizes.mamba_expand * hiddenSize);
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const mamba = (module: string) =>
    mamba2(module, mambaShape(sizes, { norm: rmsNorm(`${module}.norm`, inner, eps), isBeforeGate: false }));
  const isAttention = (index: number) =>
    ["full_attention", "attention"].includes(sizes.layer_types?.[index] ?? "");
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm`),
    embeddingMultiplier: sizes.embedding_multiplier,
    logitScale: 1 / sizes.logits_scaling,
    layers: layers(tensors, sizes, (layer, index) => ({
      norms: preNorms(layer, norm),
      mixers: [
        isAttention(index)
          ? attention(`${layer}.self_attn`, {
              ...shape,
              hiddenSize,
              rotary: sizes.position_embedding_type === "rope" ? rotary : null,
              bias,
              outputBias: bias,
              scale: sizes.attention_multiplier,
            })
          : mamba(`${layer}.mamba`),
      ],
      feedForward: withExperts(tensors, layer, sizes),
      residualMultiplier: sizes.residual_multiplier,
    })),
  };
};

function withExperts(
  tensors: DecoderTensors,
  layer: string,
  sizes: v.InferOutput<typeof schema>,
): FeedForward {
  const { hidden_size: hiddenSize, shared_intermediate_size: inner } = sizes;
  const shared = mlpWith(
    { kind: "fused", gateUp: linear(`${layer}.shared_mlp.input_linear`, 2 * inner, hiddenSize) },
    linear(`${layer}.shared_mlp.output_linear`, hiddenSize, inner),
    { hiddenSize, intermediateSize: inner, activation: sizes.hidden_act },
  );
  if (sizes.num_local_experts === 0) return shared;
  return {
    ...graniteExperts(tensors, `${layer}.block_sparse_moe`, sizes),
    shared: { mlp: shared, gate: null },
  };
}
