// Attention of one sequence in ONNX. GroupQueryAttention where it computes what the model does; on WebGPU it ignores soft
// caps and refuses heads that are not a multiple of 16 (tried with onnxruntime-web 1.30), so that others are spelled out,
// and so are chunks, sinks and values of another width than queries.

import { invariant } from "../../../errors.ts";
import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import { normalize } from "../norm-nodes.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import { type CacheNames, maskName, RUN_INPUTS } from "../run-inputs.ts";
import { lift, lower, rotate, type Rotation } from "./rotary-nodes.ts";
import { type CarriedValues, type DecoderGraph, vectorInput } from "../weight-input.ts";
import type { MixerNodes } from "./mixer-nodes.ts";
import type { Attention, AttentionInputs, Rotary } from "../../../model/mixer-description.ts";

export function attentionNodes(attention: Attention): MixerNodes {
  const { kvHeads, headDim, slidingWindow, chunk } = attention;
  const isSpelledOut = !usesGroupQueryAttention(attention);
  // Nobody hands on what lies in a cache.
  const isCached = !isSpelledOut && attention.carried === null;
  return {
    cache: isCached ? { kvHeads, headDim } : null,
    mask: isSpelledOut ? { slidingWindow, chunk } : null,
    maxTokens: Number.POSITIVE_INFINITY,
    // A sliding window that is exceeded changes the commands.
    isRecordable: (maxTokens) => slidingWindow === null || slidingWindow >= maxTokens,
    apply: (decoder, x, cache) => attend(decoder, attention, x, cache),
  };
}

/** True if a layer's keys and values can wait in a cache that GroupQueryAttention reads and writes. */
function usesGroupQueryAttention(attention: Attention): boolean {
  const { softCap, headDim, valueDim, chunk, sinks } = attention;
  return softCap === null && headDim % 16 === 0 && valueDim === headDim && chunk === null && sinks === null;
}

/** attention(x) of x (tokens, hidden), before it joins the residual. */
function attend(decoder: DecoderGraph, attention: Attention, x: Value, cache: CacheNames | null): Value {
  const { queries: projected, gate, ...own } = project(decoder, attention, x);
  const queries = placeHeads(decoder, attention, projected, "query");
  const { keys, values } = keysAndValues(decoder, attention, own);
  const attended = usesGroupQueryAttention(attention)
    ? groupQueryAttention(decoder.graph, attention, [queries, keys, values], cache)
    : spelledOut(decoder, attention, [queries, keys, values]);
  const { valueScale } = attention;
  const { graph } = decoder;
  const scaled = valueScale === 1 ? attended : graph.node("Mul", [attended, graph.floats(valueScale)]);
  const gated = gate === null ? scaled : graph.node("Mul", [scaled, graph.node("Sigmoid", [gate])]);
  return applyLinear(decoder, attention.output, gated);
}

/** Keys, placed, and values; where layers share them, those of another layer, or handed on. */
function keysAndValues(
  decoder: DecoderGraph,
  attention: Attention,
  projected: Pick<Projected, "keys" | "values">,
): CarriedValues {
  const { inputs, carried, valueNorm, kvHeads, valueDim } = attention;
  if (inputs.kind === "query") {
    const handed = carried === null ? undefined : decoder.carried.get(carried);
    invariant(handed, "an earlier layer has handed on its keys and values");
    return handed;
  }
  const keys = placeHeads(decoder, attention, projected.keys, "key");
  const normed = (x: Value) => (valueNorm ? normalize(decoder, valueNorm, x, kvHeads * valueDim) : x);
  const placed = { keys, values: normed(projected.values) };
  if (carried !== null) decoder.carried.set(carried, placed);
  return placed;
}

/** Norms and rotation of queries or keys, in the family's order. */
function placeHeads(decoder: DecoderGraph, attention: Attention, x: Value, which: "query" | "key"): Value {
  const isQuery = which === "query";
  const count = isQuery ? attention.heads : attention.kvHeads;
  const norm = isQuery ? attention.queryNorm : attention.keyNorm;
  const { headDim, normAfterRotary } = attention;
  const normed = (value: Value) => (norm ? normalize(decoder, norm, value, count * headDim) : value);
  const rotation = rotationOf(attention, isQuery);
  const rotated = (value: Value) => (rotation ? rotate(decoder, rotation, value, count, headDim) : value);
  return normAfterRotary ? normed(rotated(x)) : rotated(normed(x));
}

/** The rotation of queries carries the temperature of the scores; where nothing turns, it is by angles of zero. */
function rotationOf({ rotary, temperature, headDim }: Attention, isQuery: boolean): Rotation | null {
  if (!temperature || !isQuery) return rotary && { rotary, temperature: null };
  invariant(!rotary || rotary.dims === headDim, "whole heads are rotated where scores have a temperature");
  return { rotary: rotary ?? standingStill(headDim), temperature };
}

const still = new Map<number, Rotary>();

/** One object a size, since layers that share it share their tables. */
function standingStill(dims: number): Rotary {
  const known = still.get(dims);
  if (known) return known;
  const scaling = { type: "proportional", factor: 1, rotated: 0 } as const;
  const rotary: Rotary = { theta: 1, dims, interleaved: false, attentionFactor: 1, scaling };
  still.set(dims, rotary);
  return rotary;
}

interface Projected {
  readonly queries: Value;
  readonly keys: Value;
  readonly values: Value;
  readonly gate: Value | null;
}

function project(decoder: DecoderGraph, attention: Attention, x: Value): Projected {
  const { inputs, gate: by } = attention;
  const gate = by?.kind === "separate" ? applyLinear(decoder, by.linear, x) : null;
  if (inputs.kind === "fused") return { ...projectFused(decoder, attention, inputs, x), gate };
  const queries = applyLinear(decoder, inputs.query, x);
  if (inputs.kind === "query") return { queries, keys: "", values: "", gate };
  const keys = applyLinear(decoder, inputs.key, x);
  const values = inputs.value === inputs.key ? keys : applyLinear(decoder, inputs.value, x);
  if (by?.kind !== "with-queries") return { queries, keys, values, gate };
  const { heads, headDim } = attention;
  const [own = "", gates = ""] = splitGroups(decoder.graph, queries, heads, [headDim, headDim]);
  return { queries: own, keys, values, gate: gates };
}

function projectFused(
  decoder: DecoderGraph,
  { heads, kvHeads, headDim, valueDim }: Attention,
  { queryKeyValue, groups }: Extract<AttentionInputs, { kind: "fused" }>,
  x: Value,
): Omit<Projected, "gate"> {
  const widths = [heads * headDim, kvHeads * headDim, kvHeads * valueDim].map((width) => width / groups);
  const all = applyLinear(decoder, queryKeyValue, x);
  const [queries = "", keys = "", values = ""] = splitGroups(decoder.graph, all, groups, widths);
  return { queries, keys, values };
}

/** Parts of x (tokens, groups · Σ widths), each (tokens, groups · width). */
export function splitGroups(
  graph: OnnxGraph,
  x: Value,
  groups: number,
  widths: readonly number[],
): readonly Value[] {
  const lengths = graph.integers([...widths]);
  if (groups === 1) return graph.nodes("Split", [x, lengths], widths.length, { axis: { int: 1 } });
  const size = widths.reduce((sum, width) => sum + width);
  const grouped = graph.node("Reshape", [x, graph.integers([-1, groups, size])]);
  const parts = graph.nodes("Split", [grouped, lengths], widths.length, { axis: { int: 2 } });
  return parts.map((part, index) =>
    graph.node("Reshape", [part, graph.integers([-1, groups * (widths[index] ?? 0)])]),
  );
}

function groupQueryAttention(
  graph: OnnxGraph,
  { heads, kvHeads, headDim, scale, slidingWindow }: Attention,
  inputs: readonly Value[],
  cache: CacheNames | null,
): Value {
  const cacheShape = [1, kvHeads, "cached", headDim];
  const past = cache
    ? [
        graph.input(cache.pastKeys, "float32", cacheShape),
        graph.input(cache.pastValues, "float32", cacheShape),
      ]
    : ["", ""];
  const last = graph.input(RUN_INPUTS.lastPosition, "int32", [1]);
  const total = graph.input(RUN_INPUTS.total, "int32", []);
  const lifted = inputs.map((value) => lift(graph, value));
  const [attended = "", keys = "", values = ""] = graph.nodes(
    "GroupQueryAttention",
    [...lifted, ...past, last, total],
    3,
    {
      num_heads: { int: heads },
      kv_num_heads: { int: kvHeads },
      scale: { float: scale },
      ...(slidingWindow === null ? {} : { local_window_size: { int: slidingWindow } }),
    },
  );
  if (cache) {
    graph.output(cache.keys, "float32", cacheShape, keys);
    graph.output(cache.values, "float32", cacheShape, values);
  }
  return lower(graph, attended);
}

/** softmax(cap(scale · Q Kᵀ) + mask) V over the sequence that the run is given; no cache. */
function spelledOut(
  decoder: DecoderGraph,
  attention: Attention,
  [queries, keys, values]: readonly [Value, Value, Value],
): Value {
  const { graph } = decoder;
  const { heads, kvHeads, headDim, valueDim } = attention;
  const split = (x: Value, count: number, size: number, perm: number[]) => {
    const parted = graph.node("Reshape", [x, graph.integers([-1, count, size])]);
    return graph.node("Transpose", [parted], { perm: { ints: perm } });
  };
  // Query heads that share a key head stand side by side: (kvHeads, share, tokens, …).
  const spread = (x: Value) => graph.node("Unsqueeze", [x, graph.integers([1])]);
  const grouped = graph.node("Reshape", [
    split(queries, heads, headDim, [1, 0, 2]),
    graph.integers([kvHeads, heads / kvHeads, -1, headDim]),
  ]);
  const scores = graph.node("MatMul", [grouped, spread(split(keys, kvHeads, headDim, [1, 2, 0]))]);
  const weights = softmaxOf(decoder, attention, scores);
  const attended = graph.node("MatMul", [weights, spread(split(values, kvHeads, valueDim, [1, 0, 2]))]);
  const perHead = graph.node("Reshape", [attended, graph.integers([heads, -1, valueDim])]);
  const perToken = graph.node("Transpose", [perHead], { perm: { ints: [1, 0, 2] } });
  return graph.node("Reshape", [perToken, graph.integers([-1, heads * valueDim])]);
}

/** Weights of the values from scores (kvHeads, share, tokens, tokens). */
function softmaxOf(decoder: DecoderGraph, attention: Attention, scores: Value): Value {
  const { graph } = decoder;
  const { heads, kvHeads, scale, softCap, sinks } = attention;
  const mask = graph.input(maskName(attention), "float32", ["tokens", "tokens"]);
  const scaled = graph.node("Mul", [scores, graph.floats(softCap === null ? scale : scale / softCap)]);
  const capped =
    softCap === null ? scaled : graph.node("Mul", [graph.node("Tanh", [scaled]), graph.floats(softCap)]);
  const masked = graph.node("Add", [capped, mask]);
  if (sinks === null) return graph.node("Softmax", [masked], { axis: { int: -1 } });
  // The softmax with one term more, which is the same as dividing by a larger sum.
  const sink = graph.node("Reshape", [
    vectorInput(decoder, sinks, heads),
    graph.integers([kvHeads, heads / kvHeads, 1, 1]),
  ]);
  const reduce = (operator: "ReduceMax" | "ReduceSum", x: Value) =>
    graph.node(operator, [x, graph.integers([-1])], { keepdims: { int: 1 } });
  const largest = graph.node("Max", [reduce("ReduceMax", masked), sink]);
  const powers = graph.node("Exp", [graph.node("Sub", [masked, largest])]);
  const sinkPower = graph.node("Exp", [graph.node("Sub", [sink, largest])]);
  return graph.node("Div", [powers, graph.node("Add", [reduce("ReduceSum", powers), sinkPower])]);
}
