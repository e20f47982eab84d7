// Chunks that were fetched, until they are done with: in memory, on their way to IndexedDB, and in it.

import type { OpenedSource } from "../../api/source-api.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { type Chunk, chunkId } from "./chunks.ts";
import { createDelayedWrites, type DelayedWrites } from "./delayed-writes.ts";
import { createHotChunks, type HotChunks } from "./hot-chunks.ts";
import type { LoaderLimits } from "./loader-limits.ts";

export interface KeeperEvents {
  /** A chunk was given up: it waits nowhere any more. */
  readonly givenUp: (chunk: Chunk) => void;
  /** A chunk that came over the network has left memory: nobody writes its bytes, or will. */
  readonly left: (chunk: Chunk, bytes: Uint8Array<ArrayBuffer>) => void;
  /** The store took no more. */
  readonly failed: (error: unknown) => void;
}

export class ChunkKeeper implements Disposable {
  readonly #store: ChunkStore;
  readonly #source: OpenedSource;
  readonly #limits: LoaderLimits;
  readonly #events: KeeperEvents;
  readonly #stored: Map<string, Chunk>;
  readonly #hot: HotChunks;
  readonly #writes = new Map<string, Promise<void>>();
  /** Bytes that the store gave: they are its own. */
  readonly #given = new WeakSet<Uint8Array<ArrayBuffer>>();
  readonly #delayed: DelayedWrites;

  /** @param stored what the store holds of the source already */
  constructor(
    store: ChunkStore,
    source: OpenedSource,
    limits: LoaderLimits,
    stored: readonly Chunk[],
    events: KeeperEvents,
  ) {
    this.#store = store;
    this.#source = source;
    this.#limits = limits;
    this.#events = events;
    this.#stored = new Map(stored.map((chunk) => [chunkId(chunk), chunk]));
    this.#hot = createHotChunks(limits.hotBytes, (chunk, bytes) => this.#left(chunk, bytes));
    const delay = { delayMs: limits.delayMs, limitBytes: limits.delayedBytes };
    this.#delayed = createDelayedWrites(
      delay,
      (chunk, bytes) => this.#startWrite(chunk, bytes),
      (chunk) => this.#giveUp(chunk),
    );
  }

  get storedBytes(): number {
    return sumBytes(this.#stored.values());
  }

  /** Of chunks in memory. */
  get hotBytes(): number {
    return this.#hot.bytes;
  }

  /** Of those in memory that nobody has read yet. */
  get unreadBytes(): number {
    return this.#hot.unreadBytes;
  }

  has(chunk: Chunk): boolean {
    return this.#stored.has(chunkId(chunk)) || this.#hot.has(chunk);
  }

  /** The chunk's bytes from memory, else from the store; null if they are in neither, whatever was thought. */
  async find(chunk: Chunk): Promise<Uint8Array<ArrayBuffer> | null> {
    const hot = this.#hot.read(chunk);
    if (hot) return hot;
    if (!this.#stored.has(chunkId(chunk))) return null;
    const bytes = await this.#store.get(this.#source.key, chunk);
    if (bytes) {
      this.#given.add(bytes);
      this.#hot.add(chunk, bytes, true);
      return this.#hot.read(chunk) ?? bytes;
    }
    // Another tab deleted it, or the browser lost it; another read may have brought it meanwhile.
    const brought = this.#hot.read(chunk);
    if (brought) return brought;
    this.#stored.delete(chunkId(chunk));
    return null;
  }

  /** The chunk in memory was read by who waited for it. */
  read(chunk: Chunk): void {
    this.#hot.read(chunk);
  }

  /** Takes a chunk that has come. @param waits true if it may wait a moment before it is written */
  add(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>, waits: boolean): void {
    this.#hot.add(chunk, bytes, false);
    if (waits) this.#delayed.add(chunk, bytes);
    else this.#startWrite(chunk, bytes);
  }

  /** Resolves when not too much is being written. */
  async room(): Promise<void> {
    while (this.#writingBytes > this.#limits.unwrittenBytes && this.#writes.size > 0) {
      await Promise.race(this.#writes.values());
    }
  }

  /** The chunk was used: it is given up before others when memory for those that wait runs short. */
  use(chunk: Chunk): void {
    this.#delayed.use(chunk);
  }

  /** Drops a chunk that waits to be written; one that is being written, or stored, stays until it is evicted. */
  drop(chunk: Chunk): void {
    if (this.#delayed.cancel(chunk)) this.#giveUp(chunk);
  }

  /** Writes all that waits to be written. */
  flush(): void {
    this.#delayed.flush();
  }

  /** Gives up what waits in memory to be read. */
  clear(): void {
    this.#hot.clear();
  }

  /** Chunks in the store and in memory. */
  chunks(): Chunk[] {
    return [...this.#stored.values(), ...this.#hot.chunks()];
  }

  /** Forgets chunks. What the browser refuses to delete is no reason to end a job. */
  async evict(chunks: readonly Chunk[]): Promise<void> {
    const done = new Map(chunks.map((chunk) => [chunkId(chunk), chunk]));
    for (const chunk of done.values()) {
      this.#delayed.cancel(chunk);
      this.#hot.delete(chunk);
    }
    await Promise.all([...this.#writes].filter(([id]) => done.has(id)).map(([, write]) => write));
    const stored = [...done].filter(([id]) => this.#stored.delete(id)).map(([, chunk]) => chunk);
    if (stored.length === 0) return;
    await this.#store.delete(this.#source.key, stored).catch(() => {
      for (const chunk of stored) this.#stored.set(chunkId(chunk), chunk);
    });
  }

  /** Deletes all that is stored of the source. */
  async deleteStored(): Promise<void> {
    for (const chunk of this.#hot.chunks()) this.drop(chunk);
    await Promise.all(this.#writes.values());
    this.#stored.clear();
    this.#hot.clear();
    await this.#store.deleteSource(this.#source.key);
  }

  [Symbol.dispose](): void {
    this.#delayed[Symbol.dispose]();
  }

  get #writingBytes(): number {
    return this.#hot.unwrittenBytes - this.#delayed.bytes;
  }

  #left(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.#given.has(bytes) && !this.#writes.has(chunkId(chunk))) this.#events.left(chunk, bytes);
  }

  #giveUp(chunk: Chunk): void {
    this.#hot.delete(chunk);
    this.#events.givenUp(chunk);
  }

  #startWrite(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): void {
    const id = chunkId(chunk);
    const write = this.#write(chunk, bytes);
    this.#writes.set(id, write);
    void write.finally(() => this.#writes.delete(id));
  }

  async #write(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.#store.put(this.#source, chunk, bytes);
      this.#stored.set(chunkId(chunk), chunk);
    } catch (error) {
      this.#events.failed(error);
    }
    this.#hot.settle(chunk);
  }
}

export function sumBytes(chunks: Iterable<Chunk>): number {
  return [...chunks].reduce((sum, { start, end }) => sum + end - start, 0);
}
