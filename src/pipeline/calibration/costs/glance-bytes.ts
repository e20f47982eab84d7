// What a glance at a block takes: it is run on a few tokens, with variants of its weights, in the first run of the samples.

import { makeBatches, mostTokens } from "../../../calibrate/batches.ts";
import { blockLossBytes } from "../../../calibrate/blocks/block-losses.ts";
import { batchBytes } from "../../../calibrate/forward/token-batch.ts";
import { bufferBytes } from "../../../gpu/memory.ts";
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
 * Tokens that are glanced at, of a calibration set of so many. The set alone decides: what is chosen is not to depend on how fast a GPU
 * is, or on what memory it has. From 8,192 tokens on it is the most.
 */
function glanceTokens(tokens: number): number {
  return Math.min(Math.max(Math.ceil(tokens * SHARE), LEAST_TOKENS), MOST_TOKENS, tokens);
}

/** Of a calibration set's sequences, the lengths of the first ones that are glanced at, the last of them cut: no token sees those behind it. */
export function glancedLengths(lengths: readonly number[]): number[] {
  let left = glanceTokens(lengths.reduce((sum, length) => sum + length, 0));
  return lengths.flatMap((length) => {
    const own = Math.min(length, left);
    left -= own;
    return own > 0 ? [own] : [];
  });
}

/** Sequences that a block is run on at once, and where their rows begin among all that are glanced at. */
export interface GlancePiece {
  readonly lengths: readonly number[];
  readonly firstToken: number;
  readonly tokens: number;
}

/** Cuts what is glanced at into as few pieces as batches of so many tokens hold. */
export function glancePieces(glanced: readonly number[], batchTokens: number): GlancePiece[] {
  return makeBatches(glanced, batchTokens).map(({ first, starts, firstToken, tokens }) => ({
    lengths: glanced.slice(first, first + starts.length - 1),
    firstToken,
    tokens,
  }));
}

/** What of the samples tells how much a glance takes. */
export interface GlanceShape {
  /** As `glancedLengths` gives them. */
  readonly glanced: readonly number[];
  /** Tokens of the largest batch. */
  readonly tokens: number;
}

/** GPU bytes in that run, 0 where nothing is glanced at. */
export function glanceBytes(
  layer: CalibratedLayer,
  rewriting: LayerRewriting,
  { glanced, tokens }: GlanceShape,
  maxBufferBytes: number,
): number {
  const demand = rewriterFor(rewriting.modifier).glance(demandOf(layer, rewriting), maxBufferBytes);
  const kind = demand?.mapping.block;
  if (!demand || !kind) return 0;
  const { hiddenSize } = layer.description;
  const pieces = glancePieces(glanced, tokens);
  const batches = pieces.map(({ lengths }) => batchBytes(lengths));
  const most = mostTokens(pieces);
  const losses = blockLossBytes([{ kind, variants: demand.count }], {
    tokens: most,
    mlpTokens: most,
    hiddenSize,
  });
  const kept = bufferBytes(keptInputBytes(glanced, hiddenSize));
  return demand.bytes + losses + kept + batches.reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes of the block's input for all tokens that are glanced at, in float32: kept until all samples have come by. */
export function keptInputBytes(glanced: readonly number[], hiddenSize: number): number {
  return glanced.reduce((sum, length) => sum + length, 0) * hiddenSize * 4;
}
