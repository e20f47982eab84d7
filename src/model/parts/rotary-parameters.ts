// The rotary part of config.json in both of transformers' forms: v4 (`rope_theta`, `rope_scaling`) and v5
// (`rope_parameters`, for each layer type or for all). Defaults and precedence are those of `RotaryEmbeddingConfigMixin`.

import * as v from "valibot";
import { MalformedModelError } from "../../errors.ts";
import {
  type Config,
  finite,
  flag,
  positions,
  positive,
  readFields,
  unsupportedField,
} from "./config-fields.ts";
import type { Rotary, RotaryScaling } from "../mixer-description.ts";

export type LayerType = "full_attention" | "sliding_attention";

export interface RotaryRequest {
  readonly headDim: number;
  readonly maxPositions: number;
  /** `rope_theta` where config.json has none. */
  readonly defaultTheta: number;
  /** True if the family rotates a part of each head where `partial_rotary_factor` says so. */
  readonly partial?: boolean;
  /** `partial_rotary_factor` where config.json has none; default 1. */
  readonly defaultPartial?: number;
  readonly interleaved?: boolean;
  /** Names of `rope_type` that mean another one in this family. */
  readonly typeAliases?: Readonly<Record<string, RotaryScaling["type"]>>;
  /** `original_max_position_embeddings` where config.json has none outside of its rotary part. */
  readonly defaultOriginalMaxPositions?: number;
  /** Which of `rope_parameters`' parts applies where it has parts. */
  readonly layerType?: LayerType;
}

const factors = v.pipe(v.array(positive), v.minLength(1), v.maxLength(1024));
const ropeFields = {
  rope_theta: v.nullish(positive),
  rope_type: v.nullish(v.string()),
  type: v.nullish(v.string()),
  partial_rotary_factor: v.nullish(v.pipe(finite, v.minValue(0), v.maxValue(1))),
  factor: v.nullish(positive),
  original_max_position_embeddings: v.nullish(positions),
  attention_factor: v.nullish(v.pipe(finite, v.minValue(0))),
  beta_fast: v.nullish(finite),
  beta_slow: v.nullish(finite),
  mscale: v.nullish(finite),
  mscale_all_dim: v.nullish(finite),
  truncate: v.nullish(flag),
  low_freq_factor: v.nullish(positive),
  high_freq_factor: v.nullish(positive),
  short_factor: v.nullish(factors),
  long_factor: v.nullish(factors),
};
const partSchema = v.object(ropeFields);
const configSchema = v.object({
  rope_theta: ropeFields.rope_theta,
  partial_rotary_factor: ropeFields.partial_rotary_factor,
  original_max_position_embeddings: v.nullish(positions),
  rope_parameters: v.nullish(v.record(v.string(), v.unknown())),
  rope_scaling: v.nullish(v.record(v.string(), v.unknown())),
});

type Rope = v.InferOutput<typeof partSchema>;

/**
 * Reads the rotary embedding of one layer type.
 * @throws UnsupportedModelError for a `rope_type` that is not known, or a partial rotation that the family has not.
 * @throws MalformedModelError if a field that the type needs is absent or out of bounds.
 */
export function readRotary(config: Config, request: RotaryRequest): Rotary {
  const outer = readFields(configSchema, config);
  const rope = readFields(partSchema, selectPart(outer, request.layerType ?? "full_attention"));
  const partial = rope.partial_rotary_factor ?? outer.partial_rotary_factor ?? request.defaultPartial ?? 1;
  const named = rope.rope_type ?? rope.type ?? "default";
  const type = request.typeAliases?.[named] ?? named;
  if (partial !== 1 && !request.partial && type !== "proportional") {
    throw unsupportedField("partial_rotary_factor", partial);
  }
  const asked = type === "proportional" ? request.headDim : Math.trunc(request.headDim * partial);
  // transformers rotates one value more than an odd number, at the frequencies of the odd one.
  const dims = type === "default" ? asked + (asked % 2) : asked;
  if (dims < 2 || dims % 2 !== 0) {
    throw new MalformedModelError(
      `config.json: partial_rotary_factor ${partial} of head_dim ${request.headDim} rotates ${asked} values of each head; it must be an even number.`,
    );
  }
  const originalMaxPositions =
    outer.original_max_position_embeddings ??
    request.defaultOriginalMaxPositions ??
    rope.original_max_position_embeddings ??
    request.maxPositions;
  const context = { rope, dims, partial, originalMaxPositions };
  const theta = rope.rope_theta ?? outer.rope_theta ?? request.defaultTheta;
  return {
    theta: dims === asked ? theta : theta ** (dims / asked),
    dims,
    interleaved: request.interleaved ?? false,
    attentionFactor: attentionFactor(type, context, request),
    scaling: readScaling(type, context, request),
  };
}

function selectPart(
  outer: v.InferOutput<typeof configSchema>,
  layerType: LayerType,
): Readonly<Record<string, unknown>> {
  const parameters = outer.rope_scaling ?? outer.rope_parameters ?? {};
  const part = parameters[layerType];
  if (typeof part !== "object" || part === null) return parameters;
  // transformers looks for `truncate` beside the parts alone.
  return { ...part, truncate: parameters["truncate"] };
}

interface Context {
  readonly rope: Rope;
  readonly dims: number;
  readonly partial: number;
  readonly originalMaxPositions: number;
}

function readScaling(type: string, context: Context, request: RotaryRequest): RotaryScaling {
  const { rope, dims, originalMaxPositions } = context;
  switch (type) {
    case "default":
    // Sections of the frequencies for time, height and width: all equal in text.
    case "mrope":
      return { type: "default" };
    case "linear":
      return { type, factor: needed(rope, "factor") };
    case "dynamic":
      return { type, factor: needed(rope, "factor"), maxPositions: request.maxPositions };
    case "llama3":
      return {
        type,
        factor: needed(rope, "factor"),
        lowFrequencyFactor: needed(rope, "low_freq_factor"),
        highFrequencyFactor: needed(rope, "high_freq_factor"),
        originalMaxPositions,
      };
    case "yarn":
      return {
        type,
        factor: extension(context, request),
        originalMaxPositions,
        betaFast: rope.beta_fast || 32,
        betaSlow: rope.beta_slow || 1,
        truncate: rope.truncate ?? true,
      };
    case "longrope":
      return {
        type,
        originalMaxPositions,
        shortFactors: factorList(rope, "short_factor", dims),
        longFactors: factorList(rope, "long_factor", dims),
      };
    case "proportional":
      return {
        type,
        factor: rope.factor ?? 1,
        rotated: Math.trunc((context.partial * request.headDim) / 2),
      };
    default:
      throw unsupportedField("rope_type", type);
  }
}

function needed(rope: Rope, field: "factor" | "low_freq_factor" | "high_freq_factor"): number {
  const value = rope[field];
  if (value === null || value === undefined) {
    throw new MalformedModelError(
      `config.json: rope_type "${rope.rope_type ?? rope.type}" needs "${field}", which is absent.`,
    );
  }
  return value;
}

function factorList(rope: Rope, field: "short_factor" | "long_factor", dims: number): readonly number[] {
  const list = rope[field] ?? [];
  if (list.length !== dims / 2) {
    throw new MalformedModelError(
      `config.json: "${field}" has ${list.length} values; ${dims} rotated values of a head need ${dims / 2}.`,
    );
  }
  return list;
}

/** How many times the pretrained context the model's context is. */
function extension({ rope, originalMaxPositions }: Context, { maxPositions }: RotaryRequest): number {
  return rope.factor ?? maxPositions / originalMaxPositions;
}

function attentionFactor(type: string, context: Context, request: RotaryRequest): number {
  const { rope, originalMaxPositions } = context;
  if (type !== "yarn" && type !== "longrope") return 1;
  if (rope.attention_factor !== null && rope.attention_factor !== undefined) return rope.attention_factor;
  const factor = extension(context, request);
  if (factor <= 1) return 1;
  if (type === "longrope") return Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions));
  const magnitude = (scale: number) => 0.1 * scale * Math.log(factor) + 1;
  if (rope.mscale && rope.mscale_all_dim) return magnitude(rope.mscale) / magnitude(rope.mscale_all_dim);
  return magnitude(1);
}
