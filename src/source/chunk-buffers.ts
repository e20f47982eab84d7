// Buffers of chunks that are done with, for chunks to come. Memory that was written before is written some five times as fast as
// new memory, each of whose pages the system has to find and to clear first: where every chunk had its own, that was most of what the
// network thread did.

export interface ChunkBuffers {
  /** A buffer of a whole chunk. */
  lend(): ArrayBuffer;
  /** Takes a chunk's buffer, which nobody reads or writes any more. */
  giveBack(bytes: Uint8Array<ArrayBuffer>): void;
  /** Lets go of what nobody has lent. */
  clear(): void;
}

/** @param limitBytes of buffers that wait to be lent */
export function createChunkBuffers(chunkBytes: number, limitBytes: number): ChunkBuffers {
  const spare: ArrayBuffer[] = [];
  return {
    lend: () => spare.pop() ?? new ArrayBuffer(chunkBytes),
    giveBack({ buffer }) {
      if (buffer.byteLength === chunkBytes && (spare.length + 1) * chunkBytes <= limitBytes)
        spare.push(buffer);
    },
    clear() {
      spare.length = 0;
    },
  };
}
