// What follows the decoder's layers, as a layer of its own: the final norm, and the head that reads it.

import type { DecoderDescription, LayerDescription } from "./decoder-description.ts";
import { normTensors } from "./norm-tensors.ts";

/** The head as samples see it: they come to its input, and nothing reads what it gives out. */
export function headLayer(description: DecoderDescription, name: string): LayerDescription {
  const { hiddenSize, finalNorm, head, layers } = description;
  return {
    name,
    hiddenSize,
    norms: { mixerInput: null, mixerOutput: null, feedForwardInput: finalNorm, feedForwardOutput: null },
    mixers: [],
    feedForward: null,
    parallel: false,
    residualMultiplier: 1,
    outputScale: null,
    tokenBlock: null,
    carriedSize: layers[0]?.carriedSize ?? 0,
    unread: [],
    head: head.linear,
  };
}

/** Tensors that samples need on their way to the head's input. */
export function headVectors({ norms }: LayerDescription): ReadonlySet<string> {
  return new Set(normTensors(norms.feedForwardInput).map(([tensor]) => tensor));
}
