import * as v from "valibot";
import {
  aligned,
  epsilon,
  finite,
  flag,
  readFields,
  sizeFields,
  unsupportedField,
} from "../../parts/config-fields.ts";
import {
  attention,
  type DescribeFamily,
  gatedMlp,
  headShape,
  layers,
  rmsNorm,
} from "../../parts/decoder-parts.ts";
import { readRotary } from "../../parts/rotary-parameters.ts";
import type { Mlp } from "../../decoder-description.ts";
import { groupedNorm, mamba2, mambaFields, mambaShape } from "../../parts/mixer-parts.ts";
import type { Mamba2 } from "../../mixer-description.ts";

const schema = v.object({
  ...sizeFields({
    vocab_size: 128_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: null,
    max_position_embeddings: 8192,
  }),
  ...mambaFields,
  mamba_d_ssm: v.optional(v.nullable(aligned(1_048_576)), 1024),
  mamba_norm_before_gate: v.optional(flag, true),
  mamba_rms_norm: v.optional(flag, false),
  projectors_bias: v.optional(flag, false),
  // Mamba's convolution goes through it, too.
  hidden_act: v.optional(v.literal("silu"), "silu"),
  rms_norm_eps: v.optional(epsilon, 1e-5),
  attention_bias: v.optional(flag, false),
  mlp_bias: v.optional(flag, false),
  embedding_multiplier: v.optional(finite, 1),
  lm_head_multiplier: v.optional(finite, 1),
  key_multiplier: v.optional(finite, 1),
  attention_in_multiplier: v.optional(finite, 1),
  attention_out_multiplier: v.optional(finite, 1),
  ssm_in_multiplier: v.optional(finite, 1),
  ssm_out_multiplier: v.optional(finite, 1),
  ssm_multipliers: v.nullish(v.tuple([finite, finite, finite, finite, finite])),
  mlp_multipliers: v.nullish(v.tuple([finite, finite])),
  tie_word_embeddings: v.optional(flag, false),
});

/** transformers `modeling_falcon_h1.py`: Mamba-2 and attention side by side in every layer, and factors at most places. */
export const describeFalconH1: DescribeFamily = (config, tensors) => {
  const sizes = readFields(schema, config);
  const { hidden_size: hiddenSize, attention_bias: bias, rms_norm_eps: eps } = sizes;
  const shape = headShape(sizes);
  const rotary = readRotary(config, {
    headDim: shape.headDim,
    maxPositions: sizes.max_position_embeddings,
    defaultTheta: 10_000,
  });
  const norm = (module: string) => rmsNorm(module, hiddenSize, eps);
  // The input's factor goes through projections and rotation to the scores and the result.
  const input = sizes.attention_in_multiplier;
  if (input !== 1 && bias) throw unsupportedField("attention_in_multiplier", input);
  return {
    sizes,
    tied: sizes.tie_word_embeddings,
    finalNorm: norm(`${tensors.prefix}final_layernorm`),
    embeddingMultiplier: sizes.embedding_multiplier,
    logitScale: sizes.lm_head_multiplier,
    layers: layers(tensors, sizes, (layer) => ({
      norms: {
        mixerInput: norm(`${layer}.input_layernorm`),
        mixerOutput: null,
        feedForwardInput: norm(`${layer}.pre_ff_layernorm`),
        feedForwardOutput: null,
      },
      mixers: [
        { ...mamba(`${layer}.mamba`, sizes), outputFactor: sizes.ssm_out_multiplier },
        {
          ...attention(`${layer}.self_attn`, {
            ...shape,
            hiddenSize,
            rotary,
            bias,
            outputBias: bias,
            scale: input ** 2 * sizes.key_multiplier * shape.headDim ** -0.5,
            valueScale: input,
          }),
          outputFactor: sizes.attention_out_multiplier,
        },
      ],
      feedForward: mlp(`${layer}.feed_forward`, sizes),
    })),
  };
};

function mamba(module: string, sizes: v.InferOutput<typeof schema>): Mamba2 {
  const inner = sizes.mamba_d_ssm ?? Math.trunc(sizes.mamba_expand * sizes.hidden_size);
  const { mamba_n_groups: groups, ssm_in_multiplier: input } = sizes;
  const [gate, x, b, c, timeStep] = (sizes.ssm_multipliers ?? [1, 1, 1, 1, 1]).map(
    (factor) => factor * input,
  );
  if (input !== 1 && sizes.mamba_proj_bias) throw unsupportedField("ssm_in_multiplier", input);
  const norm = sizes.mamba_rms_norm
    ? {
        norm: groupedNorm(`${module}.norm`, inner, groups, sizes.rms_norm_eps),
        isBeforeGate: sizes.mamba_norm_before_gate,
      }
    : null;
  return mamba2(module, {
    ...mambaShape(sizes, norm, inner),
    outputBias: sizes.projectors_bias,
    factors: { gate: gate ?? 1, x: x ?? 1, b: b ?? 1, c: c ?? 1, timeStep: timeStep ?? 1 },
  });
}

function mlp(module: string, sizes: v.InferOutput<typeof schema>): Mlp {
  const [gate, output] = sizes.mlp_multipliers ?? [1, 1];
  const shape = {
    hiddenSize: sizes.hidden_size,
    intermediateSize: sizes.intermediate_size,
    activation: sizes.hidden_act,
    bias: sizes.mlp_bias,
  };
  return { ...gatedMlp(module, shape), factors: { gate, output } };
}
