// Files in chunks: the unit of storing, and of going on after a break.

import type { Span } from "../http/fetch-range.ts";
import { mergeRanges, type FileRange } from "../../formats/files/file-ranges.ts";

/**
 * 8 to 16 MiB is what IndexedDB takes fastest, and is far from the 127 MiB that a value may have in a private window
 * (measured in Chromium 156).
 */
export const CHUNK_BYTES = 16 * 1024 ** 2;

/** One chunk of one file: all are of equal size, but the last may be shorter. */
export interface Chunk extends Span {
  readonly path: string;
  readonly index: number;
}

export function chunkId({ path, index }: { readonly path: string; readonly index: number }): string {
  return `${index}:${path}`;
}

export function chunkAt(path: string, index: number, fileBytes: number, chunkBytes = CHUNK_BYTES): Chunk {
  const start = index * chunkBytes;
  return { path, index, start, end: Math.min(start + chunkBytes, fileBytes) };
}

/** The chunks that a range touches, in order. */
export function chunksOf(range: FileRange, fileBytes: number, chunkBytes = CHUNK_BYTES): Chunk[] {
  if (range.end <= range.start) return [];
  const first = Math.floor(range.start / chunkBytes);
  const last = Math.ceil(range.end / chunkBytes);
  return Array.from({ length: last - first }, (_, offset) =>
    chunkAt(range.path, first + offset, fileBytes, chunkBytes),
  );
}

/** The chunks of `chunks` that lie wholly in the union of `ranges`. */
export function coveredChunks(chunks: Iterable<Chunk>, ranges: readonly FileRange[]): Chunk[] {
  const merged = mergeRanges(ranges);
  return [...chunks].filter((chunk) =>
    merged.some(({ path, start, end }) => path === chunk.path && start <= chunk.start && chunk.end <= end),
  );
}
