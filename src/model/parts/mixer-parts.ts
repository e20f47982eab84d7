// Mixers other than attention as transformers' models name their parts, and which layers have which.

import * as v from "valibot";
import { MalformedModelError } from "../../errors.ts";
import { aligned, count, finite, flag, positions } from "./config-fields.ts";
import { type DecoderTensors, linear, rmsNorm } from "./decoder-parts.ts";
import type { Norm } from "../weight-description.ts";
import type { Convolution, DeltaInputs, GatedDeltaNet, Mamba2 } from "../mixer-description.ts";

const MOST_LAYERS = 1024;
const MOST_HEADS = 4096;
const MOST_DIMS = 16_384;

/** Fields of the gated delta rule in Qwen's families. */
export const deltaFields = {
  linear_conv_kernel_dim: v.optional(v.pipe(count(), v.minValue(1), v.maxValue(64)), 4),
  linear_key_head_dim: v.optional(aligned(MOST_DIMS), 128),
  linear_value_head_dim: v.optional(aligned(MOST_DIMS), 128),
  linear_num_key_heads: v.optional(v.pipe(positions, v.maxValue(MOST_HEADS)), 16),
  linear_num_value_heads: v.optional(v.pipe(positions, v.maxValue(MOST_HEADS)), 32),
  full_attention_interval: v.nullish(v.pipe(count(), v.minValue(1)), 4),
  layer_types: v.nullish(
    v.pipe(v.array(v.picklist(["linear_attention", "full_attention"])), v.maxLength(MOST_LAYERS)),
  ),
};

export interface DeltaSettings {
  readonly hidden_size: number;
  readonly rms_norm_eps: number;
  readonly linear_conv_kernel_dim: number;
  readonly linear_key_head_dim: number;
  readonly linear_value_head_dim: number;
  readonly linear_num_key_heads: number;
  readonly linear_num_value_heads: number;
  readonly full_attention_interval?: number | null | undefined;
  readonly layer_types?: readonly string[] | null | undefined;
}

/** True for layers with the delta rule, false for those with attention. */
export function hasDelta(settings: DeltaSettings, layer: number): boolean {
  const listed = settings.layer_types?.[layer];
  if (listed !== undefined) return listed === "linear_attention";
  return (layer + 1) % (settings.full_attention_interval ?? 4) !== 0;
}

/**
 * Qwen's gated delta rule: Qwen3-Next has two fused projections in groups, Qwen3.5 four plain ones.
 * @throws MalformedModelError if key heads do not divide heads.
 */
export function gatedDeltaNet(
  tensors: DecoderTensors,
  module: string,
  settings: DeltaSettings,
): GatedDeltaNet {
  const { hidden_size: hiddenSize, linear_num_value_heads: heads, linear_num_key_heads: keyHeads } = settings;
  const { linear_key_head_dim: keyDim, linear_value_head_dim: valueDim } = settings;
  if (heads % keyHeads !== 0) {
    throw new MalformedModelError(
      `config.json: linear_num_value_heads ${heads} is not a multiple of linear_num_key_heads ${keyHeads}.`,
    );
  }
  const [keyRows, valueRows] = [keyHeads * keyDim, heads * valueDim];
  const channels = 2 * keyRows + valueRows;
  const project = (name: string, rows: number) => linear(`${module}.${name}`, rows, hiddenSize);
  const inputs: DeltaInputs = tensors.has(`${module}.in_proj_qkvz.weight`)
    ? {
        kind: "grouped",
        queryKeyValueGate: project("in_proj_qkvz", channels + valueRows),
        betaTimeStep: project("in_proj_ba", 2 * heads),
      }
    : {
        kind: "separate",
        queryKeyValue: project("in_proj_qkv", channels),
        gate: project("in_proj_z", valueRows),
        beta: project("in_proj_b", heads),
        timeStep: project("in_proj_a", heads),
      };
  return {
    kind: "gated-delta-net",
    module,
    heads,
    keyHeads,
    keyDim,
    valueDim,
    inputs,
    convolution: convolution(`${module}.conv1d`, channels, settings.linear_conv_kernel_dim, false),
    decay: `${module}.A_log`,
    timeStepBias: `${module}.dt_bias`,
    norm: rmsNorm(`${module}.norm`, valueDim, settings.rms_norm_eps),
    output: linear(`${module}.out_proj`, hiddenSize, valueRows),
  };
}

export function convolution(module: string, channels: number, taps: number, bias: boolean): Convolution {
  return { weight: `${module}.weight`, bias: bias ? `${module}.bias` : null, channels, taps };
}

/** An upper limit may be infinite, which transformers writes as an object. */
const limit = v.union([
  finite,
  v.pipe(
    v.object({ __float__: v.literal("Infinity") }),
    v.transform(() => Number.POSITIVE_INFINITY),
  ),
]);

/** Fields of Mamba-2 in the families that call them so. */
export const mambaFields = {
  mamba_n_heads: v.optional(v.pipe(positions, v.maxValue(MOST_HEADS)), 128),
  mamba_d_head: v.optional(v.nullable(v.union([aligned(MOST_DIMS), v.literal("auto")])), "auto"),
  mamba_n_groups: v.optional(v.pipe(positions, v.maxValue(MOST_HEADS)), 1),
  mamba_d_state: v.optional(aligned(MOST_DIMS), 256),
  mamba_d_conv: v.optional(v.pipe(count(), v.minValue(1), v.maxValue(64)), 4),
  mamba_expand: v.optional(v.pipe(finite, v.gtValue(0), v.maxValue(64)), 2),
  mamba_conv_bias: v.optional(flag, true),
  mamba_proj_bias: v.optional(flag, false),
  time_step_limit: v.nullish(v.tuple([limit, limit])),
};

export interface MambaShape {
  readonly hiddenSize: number;
  readonly heads: number;
  readonly headDim: number;
  readonly groups: number;
  readonly stateDim: number;
  readonly taps: number;
  readonly convolutionBias: boolean;
  readonly inputBias: boolean;
  readonly outputBias: boolean;
  readonly timeStepLimits: Mamba2["timeStepLimits"];
  readonly norm: Mamba2["norm"];
  readonly factors?: Mamba2["factors"];
}

type MambaSettings = v.InferOutput<v.ObjectSchema<typeof mambaFields, undefined>> & {
  readonly hidden_size: number;
};

/** The shape that `mambaFields` give. @throws MalformedModelError if heads and groups do not divide what they must. */
export function mambaShape(settings: MambaSettings, norm: Mamba2["norm"], innerSize?: number): MambaShape {
  const { hidden_size: hiddenSize, mamba_n_heads: heads, mamba_n_groups: groups } = settings;
  const inner = innerSize ?? Math.trunc(settings.mamba_expand * hiddenSize);
  const given = settings.mamba_d_head;
  const headDim = given === null || given === "auto" ? inner / heads : given;
  const [least, largest] = settings.time_step_limit ?? [0, Number.POSITIVE_INFINITY];
  return {
    hiddenSize,
    heads,
    headDim,
    groups,
    stateDim: settings.mamba_d_state,
    taps: settings.mamba_d_conv,
    convolutionBias: settings.mamba_conv_bias,
    inputBias: settings.mamba_proj_bias,
    outputBias: settings.mamba_proj_bias,
    timeStepLimits: { least, largest },
    norm,
  };
}

const PLAIN = { gate: 1, x: 1, b: 1, c: 1, timeStep: 1 } as const;

/** @throws MalformedModelError if heads and groups do not divide what they must. */
export function mamba2(module: string, shape: MambaShape): Mamba2 {
  const { hiddenSize, heads, headDim, groups, stateDim } = shape;
  const inner = heads * headDim;
  if (heads % groups !== 0 || !Number.isInteger(headDim) || headDim % 4 !== 0) {
    throw new MalformedModelError(
      `config.json: Mamba layers of ${heads} heads of ${headDim} values in ${groups} groups cannot be.`,
    );
  }
  const channels = inner + 2 * groups * stateDim;
  return {
    kind: "mamba-2",
    module,
    heads,
    headDim,
    groups,
    stateDim,
    input: linear(`${module}.in_proj`, inner + channels + heads, hiddenSize, shape.inputBias),
    factors: shape.factors ?? PLAIN,
    convolution: convolution(`${module}.conv1d`, channels, shape.taps, shape.convolutionBias),
    decay: `${module}.A_log`,
    timeStepBias: `${module}.dt_bias`,
    skip: `${module}.D`,
    timeStepLimits: shape.timeStepLimits,
    norm: shape.norm,
    output: linear(`${module}.out_proj`, hiddenSize, inner, shape.outputBias),
  };
}

/** RMS norm over groups of a token's values, each with weights of its own. */
export function groupedNorm(module: string, size: number, groups: number, eps: number): Norm {
  return { ...rmsNorm(module, size / groups, eps), weightSize: size };
}
