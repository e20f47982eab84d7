import type { Value } from "../encode-model.ts";
import type { CacheNames, MaskShape } from "../run-inputs.ts";
import type { DecoderGraph } from "../weight-input.ts";

/** A mixer's part of the ONNX graph, whatever its kind. */
export interface MixerNodes {
  /** Keys and values that wait from run to run; null where each run must be given the whole sequence. */
  readonly cache: { readonly kvHeads: number; readonly headDim: number } | null;
  /** The causal mask that its runs are fed with, or null. */
  readonly mask: MaskShape | null;
  /** The most tokens that its nodes compute. */
  readonly maxTokens: number;
  /** True if the GPU's commands for one more token stay the same up to so many. */
  isRecordable(maxTokens: number): boolean;
  /** mixer(x) of x (tokens, hidden), before it joins the residual; `cache` is null where nothing is kept. */
  apply(decoder: DecoderGraph, x: Value, cache: CacheNames | null): Value;
}

/** A mixer that is given the whole sequence in each run, and computes it with matrices of tokens by tokens. */
export function wholeSequenceNodes({
  mask,
  maxTokens = Number.POSITIVE_INFINITY,
  apply,
}: Pick<MixerNodes, "mask" | "apply"> & { readonly maxTokens?: number }): MixerNodes {
  return { cache: null, mask, maxTokens, isRecordable: () => false, apply };
}
