import * as v from "valibot";
import {
  activation,
  aligned,
  count,
  epsilon,
  finite,
  flag,
  intermediateSize,
  positions,
  readFields,
  sizeFields,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DecoderTensors,
  type DescribeFamily,
  headShape,
  layers,
  plainMlp,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { EXPERT_NAMES, experts, groupedRouterFields, groupsOf } from "../../parts/expert-parts.ts";
import type { Experts, Mlp } from "../../decoder-description.ts";
import { groupedNorm, mamba2 } from "../../parts/mixer-parts.ts";
import type { Mamba2 } from "../../mixer-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 131_072,
    hidden_size: 4096,
    intermediate_size: 21_504,
    num_hidden_layers: 4,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 128,
    max_position_embeddings: 4096,
  }),
  ...groupedRouterFields({
    experts: 8,
    shared: 1,
    topK: 2,
    groups: 1,
    keptGroups: 1,
    normalizeTopK: true,
    scale: 1,
  }),
  layers_block_type: v.nullish(
    v.pipe(
      v.array(v.picklist(["linear_attention", "mamba", "full_attention", "attention", "mlp", "moe"])),
      v.maxLength(1024),
    ),
  ),
  hybrid_override_pattern: v.nullish(v.pipe(v.string(), v.regex(/^[ME*-]{1,1024}$/))),
  // Mamba's convolution goes through it.
  mamba_hidden_act: v.optional(v.literal("silu"), "silu"),
  mlp_hidden_act: v.optional(activation, "relu2"),
  layer_norm_epsilon: v.optional(epsilon, 1e-5),
  mlp_bias: v.optional(flag, false),
  use_bias: v.optional(flag, false),
  use_conv_bias: v.optional(flag, true),
  ssm_state_size: v.optional(aligned(16_384), 128),
  mamba_num_heads: v.optional(v.pipe(positions, v.maxValue(4096)), 128),
  mamba_head_dim: v.optional(aligned(16_384), 64),
  n_groups: v.optional(v.pipe(positions, v.maxValue(4096)), 8),
  conv_kernel: v.optional(v.pipe(count(), v.minValue(1), v.maxValue(64)), 4),
  time_step_min: v.optional(v.pipe(finite, v.minValue(0)), 0.001),
  moe_intermediate_size: v.optional(intermediateSize, 7688),
  moe_shared_expert_intermediate_size: v.optional(intermediateSize, 7688),
  // Experts of a narrower space.
  moe_latent_size: v.nullish(v.literal(false)),
  tie_word_embeddings: v.optional(flag, false),
});

type Sizes = v.InferOutput<typeof schema>;
type BlockType = "mamba" | "attention" | "mlp" | "moe";

/** transformers `modeling_nemotron_h.py`: layers of one block each: Mamba-2, attention without positions, an MLP or experts. */
export const describeNemotronH: DescribeFamily = (config, tensors) => {
  const read = readFields(schema, config);
  const types = blockTypes(read);
  const sizes = { ...read, num_hidden_layers: types.length };
  const { hidden_size: hiddenSize, layer_norm_epsilon: eps } = sizes;
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  const shape = headShape(sizes);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}norm_f`),
    layers: layers(tensors, sizes, (layer, index) => {
      const [type, module] = [types[index] ?? "mlp", `${layer}.mixer`];
      const own = norm(`${layer}.norm`);
      const mixes = type === "mamba" || type === "attention";
      const norms = {
        mixerInput: mixes ? own : null,
        mixerOutput: null,
        feedForwardInput: mixes ? null : own,
        feedForwardOutput: null,
      };
      if (type === "mamba") return { norms, mixers: [mamba(module, sizes)], feedForward: null };
      if (type === "attention") {
        const mixer = attention(module, { ...shape, hiddenSize, rotary: null });
        return { norms, mixers: [mixer], feedForward: null };
      }
      const feedForward =
        type === "mlp" ? mlp(module, sizes, sizes.intermediate_size) : mixture(tensors, module, sizes);
      return { norms, mixers: [], feedForward };
    }),
  };
};

const PATTERN: Readonly<Record<string, BlockType>> = { M: "mamba", E: "moe", "*": "attention", "-": "mlp" };
const OLD_NAMES = { linear_attention: "mamba", full_attention: "attention" } as const;

function blockTypes({
  layers_block_type: listed,
  hybrid_override_pattern: pattern,
}: Sizes): readonly BlockType[] {
  if (pattern && !listed) return Array.from(pattern, (letter) => PATTERN[letter] ?? "mlp");
  const types = listed ?? ["linear_attention", "moe", "full_attention", "mlp"];
  return types.map((type) =>
    type === "linear_attention" || type === "full_attention" ? OLD_NAMES[type] : type,
  );
}

function mamba(module: string, sizes: Sizes): Mamba2 {
  const inner = sizes.mamba_num_heads * sizes.mamba_head_dim;
  return mamba2(module, {
    hiddenSize: sizes.hidden_size,
    heads: sizes.mamba_num_heads,
    headDim: sizes.mamba_head_dim,
    groups: sizes.n_groups,
    stateDim: sizes.ssm_state_size,
    taps: sizes.conv_kernel,
    convolutionBias: sizes.use_conv_bias,
    inputBias: sizes.use_bias,
    outputBias: sizes.use_bias,
    timeStepLimits: { least: sizes.time_step_min, largest: Number.POSITIVE_INFINITY },
    norm: {
      norm: groupedNorm(`${module}.norm`, inner, sizes.n_groups, sizes.layer_norm_epsilon),
      isBeforeGate: false,
    },
  });
}

function mlp(module: string, sizes: Sizes, size: number): Mlp {
  return plainMlp(module, {
    hiddenSize: sizes.hidden_size,
    intermediateSize: size,
    activation: sizes.mlp_hidden_act,
    bias: sizes.mlp_bias,
  });
}

function mixture(tensors: DecoderTensors, module: string, sizes: Sizes): Experts {
  return experts(tensors, {
    module,
    names: { ...EXPERT_NAMES, gate: null },
    count: sizes.n_routed_experts,
    topK: sizes.num_experts_per_tok ?? 0,
    normalizeTopK: sizes.norm_topk_prob,
    scoring: "sigmoid",
    correction: `${module}.gate.e_score_correction_bias`,
    groups: groupsOf(sizes, "best-two"),
    scale: sizes.routed_scaling_factor ?? 1,
    shape: {
      hiddenSize: sizes.hidden_size,
      intermediateSize: sizes.moe_intermediate_size,
      activation: sizes.mlp_hidden_act,
    },
    shared: {
      mlp: mlp(`${module}.shared_experts`, sizes, sizes.moe_shared_expert_intermediate_size),
      gate: null,
    },
  });
}
