import type { Value } from "../encode-model.ts";
import { type DecoderGraph, vectorInput } from "../weight-input.ts";
import type { Convolution } from "../../../model/mixer-description.ts";

/** A causal convolution of each column of x (tokens, channels), as a sum of shifted rows; zeros come before the first. */
export function convolve(
  decoder: DecoderGraph,
  { weight, bias, channels, taps }: Convolution,
  x: Value,
): Value {
  const { graph } = decoder;
  const all = vectorInput(decoder, weight, channels * taps);
  const byTap = graph.node("Transpose", [graph.node("Reshape", [all, graph.integers([channels, taps])])], {
    perm: { ints: [1, 0] },
  });
  const rows = graph.nodes("Split", [byTap, graph.integers(Array.from({ length: taps }, () => 1))], taps, {
    axis: { int: 0 },
  });
  const zeros = graph.node("Reshape", [
    graph.floats(Array.from({ length: (taps - 1) * channels }, () => 0)),
    graph.integers([taps - 1, channels]),
  ]);
  const padded = taps > 1 ? graph.node("Concat", [zeros, x], { axis: { int: 0 } }) : x;
  const shifted = rows.map((row, tap) => {
    // From the row `tap` to the last but taps − 1 − tap.
    const end = tap === taps - 1 ? Number.MAX_SAFE_INTEGER : tap - taps + 1;
    const part = graph.node("Slice", [
      padded,
      graph.integers([tap]),
      graph.integers([end]),
      graph.integers([0]),
    ]);
    return graph.node("Mul", [part, row]);
  });
  const sum = shifted.reduce((left, right) => graph.node("Add", [left, right]));
  return bias === null ? sum : graph.node("Add", [sum, vectorInput(decoder, bias, channels)]);
}
