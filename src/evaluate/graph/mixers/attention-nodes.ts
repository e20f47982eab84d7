// Attention of one sequence in ONNX. GroupQueryAttention where it computes what the model does; on WebGPU it ignores soft
// caps and refuses heads that are not a multiple of 16 (tried with onnxruntime-web 1.30), so that others are spelled out.

import type { Attention, Norm, Rotary } from "../../../model/decoder-description.ts";
import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import { normalize } from "../norm-nodes.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { MixerNodes } from "./mixer-nodes.ts";
import { type DecoderGraph, weightName } from "../weight-input.ts";
import { RUN_INPUTS, type CacheNames, maskName } from "../run-inputs.ts";

export function attentionNodes(attention: Attention): MixerNodes {
  const { kvHeads, headDim, heads, slidingWindow } = attention;
  const isSpelledOut = !usesGroupQueryAttention(attention);
  return {
    cache: isSpelledOut ? null : { kvHeads, headDim },
    mask: isSpelledOut ? { slidingWindow } : null,
    scores: isSpelledOut ? heads : 0,
    // A sliding window that is exceeded changes the commands.
    isRecordable: (maxTokens) => slidingWindow === null || slidingWindow >= maxTokens,
    apply: (decoder, x, cache) => attend(decoder, attention, x, cache),
  };
}

/** True if a layer's keys and values can wait in a cache that GroupQueryAttention reads and writes. */
function usesGroupQueryAttention({ softCap, headDim }: Attention): boolean {
  return softCap === null && headDim % 16 === 0;
}

/** attention(x) of x (tokens, hidden), before it joins the residual. */
function attend(decoder: DecoderGraph, attention: Attention, x: Value, cache: CacheNames | null): Value {
  const [projectedQueries, projectedKeys, values] = project(decoder, attention, x);
  const { heads, kvHeads, headDim, rotary, queryNorm, keyNorm } = attention;
  const prepare = (value: Value, norm: Norm | null, count: number) => {
    const normed = norm ? normalize(decoder, norm, value, count * headDim) : value;
    return rotary ? rotate(decoder, rotary, normed, count, headDim) : normed;
  };
  const queries = prepare(projectedQueries, queryNorm, heads);
  const keys = prepare(projectedKeys, keyNorm, kvHeads);
  const attended = usesGroupQueryAttention(attention)
    ? groupQueryAttention(decoder.graph, attention, [queries, keys, values], cache)
    : spelledOut(decoder.graph, attention, queries, keys, values);
  return applyLinear(decoder, attention.output, attended);
}

function project(decoder: DecoderGraph, attention: Attention, x: Value): readonly [Value, Value, Value] {
  const { inputs, heads, kvHeads, headDim } = attention;
  if (inputs.kind === "separate") {
    return [
      applyLinear(decoder, inputs.query, x),
      applyLinear(decoder, inputs.key, x),
      applyLinear(decoder, inputs.value, x),
    ];
  }
  const { graph } = decoder;
  const all = applyLinear(decoder, inputs.queryKeyValue, x);
  const lengths = graph.integers([heads * headDim, kvHeads * headDim, kvHeads * headDim]);
  const [queries = "", keys = "", values = ""] = graph.nodes("Split", [all, lengths], 3, {
    axis: { int: 1 },
  });
  return [queries, keys, values];
}

function rotate(decoder: DecoderGraph, rotary: Rotary, x: Value, heads: number, headDim: number): Value {
  const { graph } = decoder;
  const [cosines, sines] = rotaryTables(decoder, rotary);
  const position = graph.input(RUN_INPUTS.position, "int64", [1]);
  const rotated = graph.node("RotaryEmbedding", [lift(graph, x), position, cosines, sines], {
    interleaved: { int: Number(rotary.interleaved) },
    num_heads: { int: heads },
    ...(rotary.dims === headDim ? {} : { rotary_embedding_dim: { int: rotary.dims } }),
  });
  return lower(graph, rotated);
}

function rotaryTables(decoder: DecoderGraph, rotary: Rotary): [Value, Value] {
  const table = (kind: "cosines" | "sines") => {
    const known = decoder.weights.find((weight) => weight.kind === kind && weight.rotary === rotary);
    if (known) return known.input;
    const input = weightName(decoder);
    decoder.weights.push({ kind, input, rotary });
    return decoder.graph.input(input, "float32", ["positions", rotary.dims / 2]);
  };
  return [table("cosines"), table("sines")];
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
  graph: OnnxGraph,
  { heads, kvHeads, headDim, scale, softCap, slidingWindow }: Attention,
  queries: Value,
  keys: Value,
  values: Value,
): Value {
  const mask = graph.input(maskName(slidingWindow), "float32", ["tokens", "tokens"]);
  const split = (x: Value, count: number, perm: number[]) => {
    const parted = graph.node("Reshape", [x, graph.integers([-1, count, headDim])]);
    return graph.node("Transpose", [parted], { perm: { ints: perm } });
  };
  const share = heads / kvHeads;
  // Query heads that share a key head stand side by side: (kvHeads, share, tokens, …).
  const spread = (x: Value) => graph.node("Unsqueeze", [x, graph.integers([1])]);
  const grouped = graph.node("Reshape", [
    split(queries, heads, [1, 0, 2]),
    graph.integers([kvHeads, share, -1, headDim]),
  ]);
  const scores = graph.node("MatMul", [grouped, spread(split(keys, kvHeads, [1, 2, 0]))]);
  const scaled = graph.node("Mul", [scores, graph.floats(softCap === null ? scale : scale / softCap)]);
  const capped =
    softCap === null ? scaled : graph.node("Mul", [graph.node("Tanh", [scaled]), graph.floats(softCap)]);
  const weights = graph.node("Softmax", [graph.node("Add", [capped, mask])], { axis: { int: -1 } });
  const attended = graph.node("MatMul", [weights, spread(split(values, kvHeads, [1, 0, 2]))]);
  const perHead = graph.node("Reshape", [attended, graph.integers([heads, -1, headDim])]);
  const perToken = graph.node("Transpose", [perHead], { perm: { ints: [1, 0, 2] } });
  return graph.node("Reshape", [perToken, graph.integers([-1, heads * headDim])]);
}

/** (tokens, columns) to (1, tokens, columns), as onnxruntime's own operators want it. */
function lift(graph: OnnxGraph, x: Value): Value {
  return graph.node("Unsqueeze", [x, graph.integers([0])]);
}

function lower(graph: OnnxGraph, x: Value): Value {
  return graph.node("Squeeze", [x, graph.integers([0])]);
}
