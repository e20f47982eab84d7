// Fields of config.json with the bounds that every use of them relies on. Configs come from strangers: nothing is
// multiplied or allocated before its factors have passed here.

import * as v from "valibot";
import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { issueText, shorten, showValue } from "../../formats/text/show-value.ts";

/** What an unsupported model's message ends with. */
export const DATA_FREE_HINT =
  "Recipes without calibration (rounding to nearest: W8A8, W4A16, FP8_DYNAMIC and others) need no description of the model and still work.";

/** config.json, or its text decoder's part. */
export type Config = Readonly<Record<string, unknown>>;

/** Far above every published model, and small enough that no product of two leaves the safe integers. */
const MOST = {
  vocab: 4_194_304,
  hidden: 131_072,
  intermediate: 1_048_576,
  layers: 1024,
  heads: 1024,
  headDim: 1024,
  experts: 4096,
  positions: 1_073_741_824,
} as const;
/** Rows of activations start at multiples of 16 bytes. */
const ALIGNMENT = 4;

function integer(most: number) {
  return v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(most));
}

/** An integer that may be zero. */
export function count() {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MOST.positions));
}

/** An integer that rows of activations can be cut at. */
export function aligned(most: number) {
  return alignedInteger(most);
}

function alignedInteger(most: number) {
  return v.pipe(integer(most), v.multipleOf(ALIGNMENT));
}

/** A finite number within the float32 range. */
export const finite = v.pipe(v.number(), v.finite(), v.minValue(-1e30), v.maxValue(1e30));
export const positive = v.pipe(finite, v.gtValue(0));
export const positions = integer(MOST.positions);
export const epsilon = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
/** transformers takes None for False. */
export const flag = v.pipe(
  v.nullable(v.boolean()),
  v.transform((value) => value ?? false),
);
export const expertCount = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MOST.experts));
export const layerNumbers = v.pipe(v.array(count()), v.maxLength(MOST.layers));
/** Values of a head, and heads, where they differ by layer. */
export const headDim = alignedInteger(MOST.headDim);
export const headCount = integer(MOST.heads);
export const intermediateSize = alignedInteger(MOST.intermediate);

const ACTIVATIONS = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  relu: "relu",
  relu2: "relu2",
} as const;

/** Names as transformers' ACT2FN has them; those with the same formula are one. */
export const activation = v.pipe(
  v.picklist(["silu", "swish", "gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "relu", "relu2"]),
  v.transform((name) => ACTIVATIONS[name]),
);

export const layerTypes = v.pipe(
  v.array(v.picklist(["full_attention", "sliding_attention"])),
  v.maxLength(MOST.layers),
);

/**
 * The sizes that a config.json says, or a family's defaults for them. A null there and a field that is absent are both the default:
 * transformers treats them alike for these.
 */
export interface Sizes {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** Null: as many as there are attention heads. */
  readonly num_key_value_heads: number | null;
  /** Null: hidden_size / num_attention_heads. */
  readonly head_dim: number | null;
  readonly max_position_embeddings: number;
}

/** The sizes that every family has, with the defaults of its transformers configuration class. */
export function sizeFields(defaults: Sizes) {
  return {
    vocab_size: v.optional(integer(MOST.vocab), defaults.vocab_size),
    hidden_size: v.optional(alignedInteger(MOST.hidden), defaults.hidden_size),
    intermediate_size: v.optional(intermediateSize, defaults.intermediate_size),
    num_hidden_layers: v.optional(integer(MOST.layers), defaults.num_hidden_layers),
    num_attention_heads: v.optional(integer(MOST.heads), defaults.num_attention_heads),
    num_key_value_heads: v.optional(v.nullable(integer(MOST.heads)), defaults.num_key_value_heads),
    head_dim: v.optional(v.nullable(alignedInteger(MOST.headDim)), defaults.head_dim),
    max_position_embeddings: v.optional(positions, defaults.max_position_embeddings),
    use_bidirectional_attention: v.nullish(v.literal(false), false),
    is_causal: v.optional(v.literal(true), true),
  };
}

/**
 * Reads the fields of a schema from config.json; others are left alone.
 * @throws MalformedModelError if a field has the wrong type or is out of bounds.
 * @throws UnsupportedModelError if a field has a value that this program has no arithmetic for.
 */
export function readFields<const Schema extends v.GenericSchema>(
  schema: Schema,
  config: Config,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, config);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = shorten(v.getDotPath(issue) ?? "the file");
  if (issue.type === "picklist" || issue.type === "literal") throw unsupportedField(field, issue.input);
  throw new MalformedModelError(
    `config.json: "${field}" is ${showValue(issue.input)}, which cannot be: ${issueText(issue)}.`,
  );
}

export function unsupportedField(field: string, value: unknown): UnsupportedModelError {
  return new UnsupportedModelError(
    `config.json: "${field}" is ${showValue(value)}, which calibration does not know how to compute. ${DATA_FREE_HINT}`,
  );
}

/**
 * √hidden_size, which Gemma multiplies embeddings by, as transformers has it in float32. In bfloat16 it rounds the factor
 * as all else: 0.2 % for a hidden size of 1,152.
 */
export function embeddingScale(hiddenSize: number): number {
  return Math.fround(Math.sqrt(hiddenSize));
}

export function isRecord(value: unknown): value is Config {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
