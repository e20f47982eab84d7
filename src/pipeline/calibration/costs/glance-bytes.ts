// What a glance at a block takes: it is run on a few tokens, with variants of its weights, in the first run of the samples.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { blockLossBytes } from "../../../calibrate/blocks/block-losses.ts";
import { batchBytes } from "../../../calibrate/forward/token-batch.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import { type CalibratedLayer, demandOf, type LayerRewriting } from "../layers/calibrated-layer.ts";

/** Two sequences of 512 tell scales apart as well as eight do. */
const MOST_TOKENS = 1024;
/**
 * Attention is run on each of them some twenty times, which costs as much as five runs of a layer: of all tokens of a short text it
 * would take longer than the rest of calibrating.
 */
const SHARE = 1 / 8;
/**
 * Of the sample model's text, 8 sequences with 1,053 tokens, the first 256 choose scales with which attention loses 1.014 times what it
 * does with the best for all of them, the first 132 1.023 times; plain rounding is at 1.055.
 */
const LEAST_TOKENS = 256;

/**
 * Tokens that are glanced at, where they lie in one batch, of a calibration set of so many. The set alone decides: what is chosen is not
 * to depend on how fast a GPU is. From 8,192 tokens on it is the most.
 */
export function glanceTokens(tokens: number): number {
  return Math.min(Math.max(Math.ceil(tokens * SHARE), LEAST_TOKENS), MOST_TOKENS, tokens);
}

/** Lengths of the batch's first sequences that so many tokens are, the last of them cut: no token sees those behind it. */
export function glancedLengths({ starts }: Pick<SequenceBatch, "starts">, tokens: number): number[] {
  return starts.slice(0, -1).flatMap((start, index) => {
    const end = Math.min(starts[index + 1] ?? start, tokens);
    return end > start ? [end - start] : [];
  });
}

/**
 * GPU bytes in that run, 0 where nothing is glanced at.
 * @param glanced as many tokens at most
 */
export function glanceBytes(
  layer: CalibratedLayer,
  rewriting: LayerRewriting,
  glanced: number,
  maxBufferBytes: number,
): number {
  const demand = rewriterFor(rewriting.modifier).glance(demandOf(layer, rewriting), maxBufferBytes);
  const kind = demand?.mapping.block;
  if (!demand || !kind) return 0;
  const { hiddenSize } = layer.description;
  const size = { tokens: glanced, mlpTokens: glanced, hiddenSize };
  // Sequences of one token each take the most.
  const batch = batchBytes(Array.from({ length: glanced }, () => 1));
  return demand.bytes + blockLossBytes([{ kind, variants: demand.count }], size) + batch;
}
