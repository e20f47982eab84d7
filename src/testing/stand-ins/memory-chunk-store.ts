// A chunk store for Node, which has no IndexedDB; it can hold writes back and fail them.

import type { ChunkStore } from "../../source/chunks/chunk-store.ts";

export interface MemoryChunkStore extends ChunkStore {
  /** Awaited by every write before it ends. */
  beforeWrite: () => Promise<void>;
  readonly chunks: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  readonly reads: string[];
}

export function memoryChunkStore(): MemoryChunkStore {
  const chunks = new Map<string, Uint8Array<ArrayBuffer>>();
  const reads: string[] = [];
  const id = (key: string, path: string, index: number) => JSON.stringify([key, path, index]);
  const store: MemoryChunkStore = {
    beforeWrite: async () => {},
    chunks,
    reads,
    list: async (wanted) =>
      [...chunks.keys()]
        .map((name) => JSON.parse(name) as [string, string, number])
        .filter(([key]) => key === wanted)
        .map(([, path, index]) => ({ path, index })),
    async get(key, { path, index }) {
      reads.push(`${path} ${index}`);
      return chunks.get(id(key, path, index));
    },
    async put({ key }, { path, index }, bytes) {
      await store.beforeWrite();
      chunks.set(id(key, path, index), bytes.slice());
    },
    async delete(key, names) {
      for (const { path, index } of names) chunks.delete(id(key, path, index));
    },
    async deleteSource() {
      chunks.clear();
    },
    sources: async () => [],
  };
  return store;
}
