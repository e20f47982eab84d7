// How samples that several jobs share are cut: into chunks, whose number depends on the samples alone.

import type { SequenceBatch } from "../../../calibrate/batches.ts";

/** As many jobs at most share samples. A power of two: then each of 1, 2, 4 or 8 shares sends one sum for each Hessian. */
const MAX_CHUNKS = 8;
/** Hessians of one input that are held at once, at most: a sum for each level of the tree of chunks. */
export const CHUNK_SUMS = 1 + Math.log2(MAX_CHUNKS);

/** Tokens that a batch has at most, so that there are enough of them for all chunks. */
export function chunkTokens(lengths: readonly number[]): number {
  return Math.ceil(lengths.reduce((sum, length) => sum + length, 0) / MAX_CHUNKS);
}

/** The batches of each chunk, in order. */
export function chunksOf(batches: readonly SequenceBatch[]): SequenceBatch[][] {
  const count = Math.min(MAX_CHUNKS, batches.length);
  const startOf = (chunk: number) => Math.floor((chunk * batches.length) / count);
  return Array.from({ length: count }, (_, chunk) => batches.slice(startOf(chunk), startOf(chunk + 1)));
}

/** The chunk of each batch, by the batch's first sequence. */
export function chunksByBatch(batches: readonly SequenceBatch[]): ReadonlyMap<number, number> {
  return new Map(chunksOf(batches).flatMap((own, chunk) => own.map(({ first }) => [first, chunk] as const)));
}
