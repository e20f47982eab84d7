import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import type { DecoderGraph } from "../weight-input.ts";
import { convolve } from "./convolution-nodes.ts";
import type { MixerNodes } from "./mixer-nodes.ts";
import type { ShortConvolution } from "../../../model/mixer-description.ts";

export function shortConvolutionNodes(mixer: ShortConvolution): MixerNodes {
  return {
    cache: null,
    mask: null,
    maxTokens: Number.POSITIVE_INFINITY,
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
