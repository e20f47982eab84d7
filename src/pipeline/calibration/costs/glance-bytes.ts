// What a glance at a block takes: it is run on a few tokens, with variants of its weights, in the first run of the samples.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { blockLossBytes } from "../../../calibrate/blocks/block-losses.ts";
import { batchBytes } from "../../../calibrate/forward/token-batch.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import { type CalibratedLayer, demandOf, type LayerRewriting } from "../layers/calibrated-layer.ts";

/** Two sequences of 512 tell scales apart as well as eight do. */
const GLANCE_TOKENS = 1024;

/** Lengths of the batch's first sequences that are glanced at, the last of them cut: no token sees those behind it. */
export function glancedLengths({ starts }: Pick<SequenceBatch, "starts">): number[] {
  return starts.slice(0, -1).flatMap((start, index) => {
    const end = Math.min(starts[index + 1] ?? start, GLANCE_TOKENS);
    return end > start ? [end - start] : [];
  });
}

/**
 * GPU bytes in that run, 0 where nothing is glanced at.
 * @param tokens of the largest batch
 */
export function glanceBytes(
  layer: CalibratedLayer,
  rewriting: LayerRewriting,
  tokens: number,
  maxBufferBytes: number,
): number {
  const demand = rewriterFor(rewriting.modifier).glance(demandOf(layer, rewriting), maxBufferBytes);
  const kind = demand?.mapping.block;
  if (!demand || !kind) return 0;
  const { hiddenSize } = layer.description;
  const glanced = Math.min(tokens, GLANCE_TOKENS);
  const size = { tokens: glanced, mlpTokens: glanced, hiddenSize };
  // Sequences of one token each take the most.
  const batch = batchBytes(Array.from({ length: glanced }, () => 1));
  return demand.bytes + blockLossBytes([{ kind, variants: demand.count }], size) + batch;
}
