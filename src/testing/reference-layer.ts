// One dense decoder layer in float64, in plain loops: what the kernels together are held against.

import { referenceActivation } from "../calibrate/forward/activate/reference.ts";
import { referenceAttention } from "../calibrate/forward/mixers/attention/reference.ts";
import { referenceNorm } from "../calibrate/forward/norm/reference.ts";
import { referenceRotary } from "../calibrate/forward/rotary/reference.ts";
import type { Attention, LayerDescription, Linear, Mlp, Norm } from "../model/decoder-description.ts";
import { attentionLinears, mlpInputLinears } from "../model/layer-linears.ts";
import { type FixtureTensors, floatsOf } from "./architecture-fixture.ts";

export interface ReferenceLayer {
  /** Input of each Linear by its module name, (tokens, columns). */
  readonly inputs: ReadonlyMap<string, Float64Array>;
  /** (tokens, kvHeads · headDim), keys normed and rotated. */
  readonly keys: Float64Array;
  readonly values: Float64Array;
  readonly output: Float64Array;
}

export function referenceLayer(
  layer: LayerDescription,
  tensors: FixtureTensors,
  hidden: ArrayLike<number>,
  lengths: readonly number[],
): ReferenceLayer {
  const inputs = new Map<string, Float64Array>();
  const apply = (linear: Linear, x: Float64Array) => {
    inputs.set(linear.module, x);
    return product(linear, tensors, x);
  };
  const norm = (by: Norm | null, x: Float64Array) => (by ? applyNorm(by, tensors, x) : x);
  const { norms, feedForward, residualMultiplier } = layer;
  if (feedForward.kind === "experts") throw new Error("The reference layer is dense");
  const join = (x: Float64Array, block: Float64Array) =>
    x.map((value, index) => value + residualMultiplier * (block[index] ?? 0));

  const x = Float64Array.from(hidden);
  const first = norm(norms.attentionInput, x);
  const qkv = queriesKeysValues(layer.attention, tensors, apply, first, lengths);
  const { heads, kvHeads } = layer.attention;
  const keys = headColumns(layer.attention, qkv, heads, kvHeads);
  const values = headColumns(layer.attention, qkv, heads + kvHeads, kvHeads);
  const attended = referenceAttention(layer.attention, qkv, lengths);
  const middle = join(x, norm(norms.attentionOutput, apply(layer.attention.output, attended)));
  const second = layer.parallel ? first : norm(norms.feedForwardInput, middle);
  const inner = innerValues(feedForward, apply, second);
  const output = join(middle, norm(norms.feedForwardOutput, apply(feedForward.down, inner)));
  return { inputs, keys, values, output };
}

type Apply = (linear: Linear, x: Float64Array) => Float64Array;

/** x Wᵀ + b */
function product({ rows, columns, bias, source }: Linear, tensors: FixtureTensors, x: Float64Array) {
  const weight = floatsOf(tensors, source.tensor);
  const added = bias === null ? null : floatsOf(tensors, bias);
  const tokens = x.length / columns;
  return Float64Array.from({ length: tokens * rows }, (_, index) => {
    const [token, row] = [Math.floor(index / rows), index % rows];
    let sum = added?.[row] ?? 0;
    for (let k = 0; k < columns; k++) {
      sum += (x[token * columns + k] ?? 0) * (weight[(source.firstRow + row) * columns + k] ?? 0);
    }
    return sum;
  });
}

function applyNorm(norm: Norm, tensors: FixtureTensors, x: Float64Array): Float64Array {
  const bias = norm.bias === null ? null : floatsOf(tensors, norm.bias);
  return referenceNorm(norm, x, floatsOf(tensors, norm.weight), bias);
}

function queriesKeysValues(
  description: Attention,
  tensors: FixtureTensors,
  apply: Apply,
  input: Float64Array,
  lengths: readonly number[],
): Float64Array {
  const { heads, kvHeads, queryNorm, keyNorm } = description;
  const [first, second, third] = attentionLinears(description.inputs).map((linear) => apply(linear, input));
  const joined =
    second && third
      ? columnsBeside([first ?? new Float64Array(), second, third], description)
      : (first ?? new Float64Array());
  const queries = headColumns(description, joined, 0, heads);
  const keys = headColumns(description, joined, heads, kvHeads);
  const normed = columnsBeside(
    [
      queryNorm ? applyNorm(queryNorm, tensors, queries) : queries,
      keyNorm ? applyNorm(keyNorm, tensors, keys) : keys,
      headColumns(description, joined, heads + kvHeads, kvHeads),
    ],
    description,
  );
  const { rotary } = description;
  return rotary ? referenceRotary({ ...description, rotary }, normed, lengths) : normed;
}

/** Columns of `count` heads of a token's queries, keys and values, from head `first`. */
function headColumns(
  { heads, kvHeads, headDim }: Attention,
  qkv: Float64Array,
  first: number,
  count: number,
): Float64Array {
  return qkv.filter((_, index) => {
    const head = Math.floor((index % ((heads + 2 * kvHeads) * headDim)) / headDim);
    return head >= first && head < first + count;
  });
}

/** Queries, keys and values of a token next to each other. */
function columnsBeside(parts: readonly Float64Array[], { heads, kvHeads, headDim }: Attention): Float64Array {
  const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
  const stride = widths.reduce((sum, width) => sum + width, 0);
  const tokens = (parts[0]?.length ?? 0) / (widths[0] ?? 1);
  const result = new Float64Array(tokens * stride);
  let column = 0;
  for (const [index, width] of widths.entries()) {
    for (let token = 0; token < tokens; token++) {
      const row = parts[index]?.subarray(token * width, (token + 1) * width) ?? [];
      result.set(row, token * stride + column);
    }
    column += width;
  }
  return result;
}

function innerValues({ inputs, activation, intermediateSize }: Mlp, apply: Apply, x: Float64Array) {
  const [first = new Float64Array(), second] = mlpInputLinears(inputs).map((linear) => apply(linear, x));
  const stride = inputs.kind === "fused" ? 2 * intermediateSize : intermediateSize;
  const tokens = first.length / stride;
  return Float64Array.from({ length: tokens * intermediateSize }, (_, index) => {
    const at = Math.floor(index / intermediateSize) * stride + (index % intermediateSize);
    const activated = referenceActivation(activation, first[at] ?? 0);
    if (inputs.kind === "plain") return activated;
    return activated * ((second ?? first)[second ? index : at + intermediateSize] ?? 0);
  });
}
