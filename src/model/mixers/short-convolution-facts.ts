import type { MixerFacts } from "./mixer-facts.ts";
import { convolutionTensors } from "./recurrent-facts.ts";
import type { ShortConvolution } from "../mixer-description.ts";

export function shortConvolutionFacts({ input, output, convolution }: ShortConvolution): MixerFacts {
  return {
    inputs: [[input]],
    output,
    vectors: convolutionTensors(convolution),
    keyValueCache: null,
    work: (tokens) => 2 * convolution.channels * convolution.taps * tokens,
  };
}
