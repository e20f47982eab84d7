// How samples are cut: into batches, and where several jobs share them into chunks, whose number depends on the samples alone.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { sampleBatches, sampleCells } from "../../../calibrate/sample-batches.ts";

/** As many jobs at most share samples. A power of two: then each of 1, 2, 4 or 8 shares sends one sum for each Hessian. */
export const MAX_CHUNKS = 8;
/** Hessians of one input that are held at once, at most: a sum for each level of the tree of chunks. */
export const CHUNK_SUMS = 1 + Math.log2(MAX_CHUNKS);

/** Tokens that a batch has at most, so that there are enough of them for all chunks. */
export function chunkTokens(lengths: readonly number[]): number {
  return Math.ceil(lengths.reduce((sum, length) => sum + length, 0) / MAX_CHUNKS);
}

/** The cells of each chunk, in order. */
function cellsByChunk(lengths: readonly number[]): SequenceBatch[][] {
  const cells = sampleCells(lengths);
  const count = Math.min(MAX_CHUNKS, cells.length);
  const startOf = (chunk: number) => Math.floor((chunk * cells.length) / count);
  return Array.from({ length: count }, (_, chunk) => cells.slice(startOf(chunk), startOf(chunk + 1)));
}

/** As many chunks as there are. */
export function chunkCount(lengths: readonly number[]): number {
  return cellsByChunk(lengths).length;
}

/** The chunk of each sequence. */
export function chunksBySequence(lengths: readonly number[]): number[] {
  return cellsByChunk(lengths).flatMap((cells, chunk) =>
    cells.flatMap(({ starts }) => starts.slice(1).map(() => chunk)),
  );
}

/** Batches of at most so many tokens, but of at least one cell; where sums are made by chunk, no batch is in two of them. */
export function batchesOf(
  lengths: readonly number[],
  { maxTokens, byChunk }: { readonly maxTokens: number; readonly byChunk: boolean },
): SequenceBatch[] {
  const parts = byChunk ? cellsByChunk(lengths) : [sampleCells(lengths)];
  return parts.flatMap((cells) => sampleBatches(cells, maxTokens));
}
