import * as v from "valibot";
import { expertCount, intermediateSize, readFields } from "../../parts/config-fields.ts";
import {
  type DecoderTensors,
  type DescribeFamily,
  linear,
  mlpWith,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import type { FeedForward } from "../../decoder-description.ts";
import { mamba2, mambaFields, mambaShape } from "../../parts/mixer-parts.ts";
import { graniteAttention, graniteBody, graniteFields, graniteRotary } from "../dense/granite.ts";
import { graniteExperts } from "../experts/granite-moe.ts";

const schema = v.object({
  ...graniteFields,
  ...mambaFields,
  // Mamba's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
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
});

/** transformers `modeling_granitemoehybrid.py`: Mamba-2 in most layers, attention in the others; experts beside an MLP that sees every token, or that alone. */
export const describeGraniteMoeHybrid: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const rotary = graniteRotary(config, sizes);
  const inner = Math.trunc(sizes.mamba_expand * sizes.hidden_size);
  const mamba = (module: string) => {
    const norm = rmsNorm(`${module}.norm`, inner, sizes.rms_norm_eps);
    return mamba2(module, mambaShape(sizes, { norm, isBeforeGate: false }));
  };
  const isAttention = (index: number) =>
    ["full_attention", "attention"].includes(sizes.layer_types?.[index] ?? "");
  return graniteBody(tensors, sizes, (layer, index) => ({
    mixer: isAttention(index)
      ? graniteAttention(layer, sizes, sizes.position_embedding_type === "rope" ? rotary : null)
      : mamba(`${layer}.mamba`),
    feedForward: withExperts(tensors, layer, sizes),
  }));
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
