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
  /** Of chunks that nobody has read yet. */
  readonly unreadBytes: number;
}

/**
 * @param limitBytes bound of all chunks together; only unwritten ones can exceed it
 * @param left is told of chunks that leave memory
 */
export function createHotChunks(
  limitBytes: number,
  left: (chunk: Chunk, bytes: Uint8Array<ArrayBuffer>) => void,
): HotChunks {
  const hot = new Map<string, HotChunk>();
  const drop = (id: string) => {
    const entry = hot.get(id);
    hot.delete(id);
    if (entry) left(entry.chunk, entry.bytes);
  };
  const sum = (counts: (entry: HotChunk) => boolean) =>
    [...hot.values()].filter(counts).reduce((bytes, entry) => bytes + entry.bytes.byteLength, 0);
  const trim = () => {
    const excess = sum(() => true) - limitBytes;
    for (const chunk of victimsOf(hot.values(), excess)) drop(chunkId(chunk));
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
      drop(chunkId(chunk));
    },
    clear() {
      for (const [id, { written }] of hot) if (written) drop(id);
    },
    chunks: () => [...hot.values()].map(({ chunk }) => chunk),
    get bytes() {
      return sum(() => true);
    },
    get unwrittenBytes() {
      return sum(({ written }) => !written);
    },
    get unreadBytes() {
      return sum(({ read }) => !read);
    },
  };
}

/** What to drop for so many bytes: first what was read already, oldest first; then what is needed last. */
function victimsOf(entries: Iterable<HotChunk>, bytes: number): Chunk[] {
  const written = [...entries].filter((entry) => entry.written);
  const order = [...written.filter(({ read }) => read), ...written.filter(({ read }) => !read).toReversed()];
  const victims: Chunk[] = [];
  for (let dropped = 0, at = 0; dropped < bytes && at < order.length; at++) {
    const entry = order[at];
    if (!entry) break;
    victims.push(entry.chunk);
    dropped += entry.bytes.byteLength;
  }
  return victims;
}
