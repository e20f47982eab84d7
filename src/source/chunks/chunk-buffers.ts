// Memory of chunks: what one is done with serves the next, once nobody is still to copy from it.

import { createSpareArrays } from "../../spare-arrays.ts";
import { type Chunk, chunkId } from "./chunks.ts";
import type { LoaderLimits } from "./loader-limits.ts";

export interface ChunkBuffers {
  /** A buffer for a chunk to come, or undefined: then it takes new memory. */
  room(chunk: Chunk): ArrayBuffer | undefined;
  /** Takes the memory of a chunk that nobody else holds. */
  give(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): void;
  /** A read has yet to copy from the chunk. */
  hold(id: string): void;
  /** It has, or never will. */
  letGo(id: string): void;
  /** Gives back what waits for chunks to come. */
  clear(): void;
}

export function createChunkBuffers({
  chunkBytes,
  spareBytes,
}: Pick<LoaderLimits, "chunkBytes" | "spareBytes">): ChunkBuffers {
  /** How many reads have yet to copy from a chunk. */
  const readers = new Map<string, number>();
  const spare = createSpareArrays(spareBytes);
  // IndexedDB keeps a buffer whole: a shorter chunk has one of its own.
  const isWhole = ({ start, end }: Chunk) => end - start === chunkBytes;
  return {
    room: (chunk) => (isWhole(chunk) ? spare.take(chunkBytes) : undefined),
    give(chunk, bytes) {
      if (isWhole(chunk) && !readers.has(chunkId(chunk))) spare.give(bytes);
    },
    hold(id) {
      readers.set(id, (readers.get(id) ?? 0) + 1);
    },
    letGo(id) {
      const others = (readers.get(id) ?? 0) - 1;
      if (others > 0) readers.set(id, others);
      else readers.delete(id);
    },
    clear: () => spare.clear(),
  };
}
