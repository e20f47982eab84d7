// Chunks in memory: those still being written to IndexedDB, and, within a bound, those that were just downloaded and will soon be
// read. Reading them back from IndexedDB would cost as much as writing them.

import { type Chunk, chunkId } from "./chunks.ts";

interface HotChunk {
  readonly chunk: Chunk;
  readonly bytes: Uint8Array<ArrayBuffer>;
  written: boolean;
  read: boolean;
}

export interface HotChunks {
  add(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>, written: boolean): void;
  has(chunk: Chunk): boolean;
  /** The chunk's bytes; from now on it is among the first to be dropped. */
  read(chunk: Chunk): Uint8Array<ArrayBuffer> | undefined;
  /** The chunk lies in IndexedDB, or never will: it may be dropped. */
  settle(chunk: Chunk): void;
  delete(chunk: Chunk): void;
  /** Drops all that is not being written. */
  clear(): void;
  chunks(): Chunk[];
  readonly bytes: number;
  readonly unwrittenBytes: number;
}

/** @param limitBytes bound of all chunks together; only unwritten ones can exceed it */
export function createHotChunks(limitBytes: number): HotChunks {
  const hot = new Map<string, HotChunk>();
  const sum = (counts: (entry: HotChunk) => boolean) =>
    [...hot.values()].filter(counts).reduce((bytes, entry) => bytes + entry.bytes.byteLength, 0);
  const trim = () => {
    let excess = sum(() => true) - limitBytes;
    const written = [...hot.values()].filter((entry) => entry.written);
    // First what was read already, oldest first; then what is needed last.
    const victims = [
      ...written.filter(({ read }) => read),
      ...written.filter(({ read }) => !read).toReversed(),
    ];
    for (const { chunk, bytes } of victims) {
      if (excess <= 0) return;
      hot.delete(chunkId(chunk));
      excess -= bytes.byteLength;
    }
  };
  return {
    add(chunk, bytes, written) {
      hot.set(chunkId(chunk), { chunk, bytes, written, read: false });
      trim();
    },
    has: (chunk) => hot.has(chunkId(chunk)),
    read(chunk) {
      const entry = hot.get(chunkId(chunk));
      if (entry) entry.read = true;
      return entry?.bytes;
    },
    settle(chunk) {
      const entry = hot.get(chunkId(chunk));
      if (entry) entry.written = true;
      trim();
    },
    delete(chunk) {
      hot.delete(chunkId(chunk));
    },
    clear() {
      for (const [id, { written }] of hot) if (written) hot.delete(id);
    },
    chunks: () => [...hot.values()].map(({ chunk }) => chunk),
    get bytes() {
      return sum(() => true);
    },
    get unwrittenBytes() {
      return sum(({ written }) => !written);
    },
  };
}
