import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import { type DecoderGraph, vectorInput } from "../weight-input.ts";
import type { MixerNodes } from "./mixer-nodes.ts";
import type { Convolution, ShortConvolution } from "../../../model/mixer-description.ts";

export function shortConvolutionNodes(mixer: ShortConvolution): MixerNodes {
  return {
    cache: null,
    mask: null,
    scores: 0,
    isRecordable: () => false,
    apply: (decoder, x) => convolveShort(decoder, mixer, x),
  };
}

/** C · convolution(B · x). */
function convolveShort(
  decoder: DecoderGraph,
  { input, convolution, output }: ShortConvolution,
  x: Value,
): Value {
  const { graph } = decoder;
  const { channels } = convolution;
  const lengths = graph.integers([channels, channels, channels]);
  const [b = "", c = "", values = ""] = graph.nodes("Split", [applyLinear(decoder, input, x), lengths], 3, {
    axis: { int: 1 },
  });
  const convolved = convolve(decoder, convolution, graph.node("Mul", [b, values]));
  return applyLinear(decoder, output, graph.node("Mul", [c, convolved]));
}

/** A causal convolution of each column of x (tokens, channels), as a sum of shifted rows; zeros come before the first. */
function convolve(decoder: DecoderGraph, { weight, bias, channels, taps }: Convolution, x: Value): Value {
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
