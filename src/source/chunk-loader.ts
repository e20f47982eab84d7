// The download scheduler: brings chunks of one remote model into memory and IndexedDB, what is read first, what was announced next.

import { invariant } from "../errors.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { type Chunk, chunkAt, chunkId, chunksOf, coveredChunks } from "./chunks.ts";
import { type RemoteFile, streamSpans } from "./fetch-range.ts";
import { createDelayedWrites, type DelayedWrites } from "./delayed-writes.ts";
import { mergeRanges, type FileRange } from "../formats/file-ranges.ts";
import { LOADER_LIMITS, type LoaderLimits } from "./loader-limits.ts";
import { createHotChunks, type HotChunks } from "./hot-chunks.ts";
import type { Transport } from "./retry.ts";
import { createWaiters } from "./waiters.ts";
import type { OpenedSource } from "../api/source-api.ts";

export interface RemoteModel {
  readonly opened: OpenedSource;
  readonly files: ReadonlyMap<string, RemoteFile>;
}

export class ChunkLoader implements Disposable {
  readonly #transport: Transport;
  readonly #store: ChunkStore;
  readonly #model: RemoteModel;
  readonly #limits: LoaderLimits;
  readonly #stored: Map<string, Chunk>;
  readonly #hot: HotChunks;
  /** Announced chunks, in order, and chunks that a read waits for. */
  #queue: readonly Chunk[] = [];
  readonly #urgent = new Map<string, Chunk>();
  readonly #waiters = createWaiters();
  /** Chunks that a running request will bring. */
  readonly #loading = new Set<string>();
  readonly #writes = new Map<string, Promise<void>>();
  readonly #delayed: DelayedWrites;
  readonly #end = new AbortController();
  /** Ranges that will not be read again. */
  #used: readonly FileRange[] = [];
  #requests = 0;
  #paused = false;
  /** Why nothing is fetched ahead: the next read will try, and tell. */
  #halted = false;
  #storageFailure: unknown = null;
  #lastRead = Number.NEGATIVE_INFINITY;
  #wake: ReturnType<typeof setTimeout> | null = null;

  private constructor(
    transport: Transport,
    store: ChunkStore,
    model: RemoteModel,
    limits: LoaderLimits,
    stored: readonly Chunk[],
  ) {
    this.#transport = transport;
    this.#store = store;
    this.#model = model;
    this.#limits = limits;
    this.#stored = new Map(stored.map((chunk) => [chunkId(chunk), chunk]));
    this.#hot = createHotChunks(limits.hotBytes);
    const delay = { delayMs: limits.delayMs, limitBytes: limits.delayedBytes };
    this.#delayed = createDelayedWrites(
      delay,
      (chunk, bytes) => this.#startWrite(chunk, bytes),
      (chunk) => this.#giveUp(chunk),
    );
  }

  /** Finds what is stored of the model already. */
  static async open(
    transport: Transport,
    store: ChunkStore,
    model: RemoteModel,
    limits: LoaderLimits = LOADER_LIMITS,
  ): Promise<ChunkLoader> {
    const names = await store.list(model.opened.key);
    const stored = names.flatMap(({ path, index }) => {
      const file = model.files.get(path);
      return file ? [chunkAt(path, index, file.bytes, limits.chunkBytes)] : [];
    });
    return new ChunkLoader(transport, store, model, limits, stored);
  }

  get storedBytes(): number {
    return sumBytes(this.#stored.values());
  }

  /** Chunks in memory, for tests of the bound. */
  get hotBytes(): number {
    return this.#hot.bytes;
  }

  /**
   * The bytes of a range: from memory, else from IndexedDB, else from the network, ahead of all that was announced.
   * @throws NetworkError, AccessError, StorageError; an AbortError when the loader ends
   */
  async read(range: FileRange): Promise<Uint8Array<ArrayBuffer>> {
    this.#lastRead = performance.now();
    const chunks = this.#chunksOf(range);
    const bytes = new Uint8Array(range.end - range.start);
    for (const chunk of chunks) if (this.#isMissing(chunk)) this.#urgent.set(chunkId(chunk), chunk);
    try {
      for (const chunk of chunks) {
        const from = Math.max(range.start, chunk.start);
        const part = (await this.#load(chunk)).subarray(from - chunk.start, range.end - chunk.start);
        bytes.set(part, from - range.start);
      }
    } finally {
      for (const chunk of chunks) {
        if (!this.#waiters.has(chunkId(chunk))) this.#urgent.delete(chunkId(chunk));
      }
    }
    this.#startRequests();
    return bytes;
  }

  /** Downloads these ranges in the background, in this order, instead of what was asked before. */
  prefetch(ranges: readonly FileRange[]): void {
    const chunks = ranges.flatMap((range) => this.#chunksOf(range));
    this.#queue = [...new Map(chunks.map((chunk) => [chunkId(chunk), chunk])).values()];
    this.#goOn();
  }

  /** Downloads nothing more ahead, writes what waits to be written, and gives up what waits in memory to be read. */
  release(): void {
    this.#queue = [];
    this.#used = [];
    this.#delayed.flush();
    this.#hot.clear();
    this.#goOn();
  }

  /**
   * Says that a range will not be read again, if all goes well. Chunks that wait to be written are given up before
   * others when memory for them runs short; those that are stored stay until they are evicted.
   */
  use(range: FileRange): void {
    this.#used = mergeRanges([...this.#used, range]);
    for (const chunk of coveredChunks(this.#chunksOf(range), this.#used)) this.#delayed.use(chunk);
  }

  /** Deletes the chunks that lie wholly in the union of the ranges. What the browser refuses to delete is no reason to end a job. */
  async evict(ranges: readonly FileRange[]): Promise<void> {
    const held = [...this.#stored.values(), ...this.#hot.chunks(), ...this.#queue];
    const done = new Map(coveredChunks(held, ranges).map((chunk) => [chunkId(chunk), chunk]));
    this.#queue = this.#queue.filter((chunk) => !done.has(chunkId(chunk)));
    for (const chunk of done.values()) {
      this.#delayed.cancel(chunk);
      this.#hot.delete(chunk);
    }
    await Promise.all([...this.#writes].filter(([id]) => done.has(id)).map(([, write]) => write));
    const stored = [...done].filter(([id]) => this.#stored.delete(id)).map(([, chunk]) => chunk);
    if (stored.length === 0) return;
    await this.#store.delete(this.#model.opened.key, stored).catch(() => {
      for (const chunk of stored) this.#stored.set(chunkId(chunk), chunk);
    });
  }

  missingBytes(ranges: readonly FileRange[]): number {
    const chunks = ranges.flatMap((range) => this.#chunksOf(range));
    const missing = chunks.filter((chunk) => !this.#stored.has(chunkId(chunk)) && !this.#hot.has(chunk));
    return sumBytes(new Map(missing.map((chunk) => [chunkId(chunk), chunk])).values());
  }

  /** Ends running requests at their next whole chunk. */
  pause(): void {
    this.#paused = true;
    this.#delayed.flush();
  }

  resume(): void {
    this.#paused = false;
    this.#goOn();
  }

  /** Deletes all that is stored of the model; what a running job still needs is downloaded again. */
  async deleteStored(): Promise<void> {
    this.#delayed.flush();
    await Promise.all(this.#writes.values());
    this.#stored.clear();
    this.#hot.clear();
    await this.#store.deleteSource(this.#model.opened.key);
  }

  [Symbol.dispose](): void {
    if (this.#wake !== null) clearTimeout(this.#wake);
    this.#delayed[Symbol.dispose]();
    this.#queue = [];
    this.#urgent.clear();
    this.#end.abort();
    this.#waiters.rejectAll(this.#end.signal.reason);
  }

  #chunksOf(range: FileRange): Chunk[] {
    const file = this.#model.files.get(range.path);
    invariant(file && range.start >= 0 && range.end <= file.bytes, `no such range of ${range.path}`);
    return chunksOf(range, file.bytes, this.#limits.chunkBytes);
  }

  async #load(chunk: Chunk): Promise<Uint8Array<ArrayBuffer>> {
    const hot = this.#hot.read(chunk);
    if (hot) return hot;
    if (this.#stored.has(chunkId(chunk))) {
      const bytes = await this.#store.get(this.#model.opened.key, chunk);
      if (bytes) {
        this.#hot.add(chunk, bytes, true);
        return this.#hot.read(chunk) ?? bytes;
      }
      // Another tab deleted it, or the browser lost it; another read may have brought it meanwhile.
      const brought = this.#hot.read(chunk);
      if (brought) return brought;
      this.#stored.delete(chunkId(chunk));
    }
    return await this.#download(chunk);
  }

  async #download(chunk: Chunk): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#storageFailure) throw this.#storageFailure;
    this.#end.signal.throwIfAborted();
    const id = chunkId(chunk);
    const bytes = this.#waiters.wait(id);
    this.#urgent.set(id, chunk);
    this.#halted = false;
    this.#startRequests();
    return await bytes;
  }

  #isMissing(chunk: Chunk): boolean {
    const id = chunkId(chunk);
    return !this.#stored.has(id) && !this.#loading.has(id) && !this.#hot.has(chunk);
  }

  #goOn(): void {
    this.#halted = false;
    this.#storageFailure = null;
    this.#startRequests();
  }

  #startRequests(): void {
    while (!this.#paused && !this.#storageFailure && !this.#end.signal.aborted) {
      const urgent = [...this.#urgent.values()].find((chunk) => this.#isMissing(chunk));
      const waits = this.#halted || this.#isFarAhead();
      const next = urgent ?? (waits ? undefined : this.#queue.find((chunk) => this.#isMissing(chunk)));
      if (!next || this.#requests >= this.#limits.requests + (urgent ? 1 : 0)) return;
      void this.#request(this.#adjoining(next));
    }
  }

  /**
   * True while memory holds plenty for a reader that keeps up. Fetching further ahead would send every byte through
   * IndexedDB and back: on an H200, 6 layers of 8B took 21.8 s instead of the 9.1 s that storing them takes.
   */
  #isFarAhead(): boolean {
    const ahead = this.#hot.unreadBytes + this.#loading.size * this.#limits.chunkBytes;
    const rest = this.#readerRest();
    if (rest <= 0 || ahead < this.#limits.aheadBytes) return false;
    this.#wake ??= setTimeout(() => {
      this.#wake = null;
      this.#startRequests();
    }, rest);
    return true;
  }

  /** Milliseconds for which a reader counts as keeping up; none if it has not read for long. */
  #readerRest(): number {
    return this.#lastRead + this.#limits.readerMs - performance.now();
  }

  /** The chunk and those that follow it in the file and in the order of need: one request. */
  #adjoining(first: Chunk): Chunk[] {
    const list = [this.#queue, [...this.#urgent.values()]].find((chunks) => chunks.some(isSame(first))) ?? [];
    const run: Chunk[] = [];
    for (const chunk of list.slice(list.findIndex(isSame(first)))) {
      const follows = chunk.path === first.path && chunk.index === first.index + run.length;
      if (!follows || !this.#isMissing(chunk) || run.length === this.#limits.requestChunks) break;
      run.push(chunk);
    }
    return run;
  }

  async #request(chunks: readonly Chunk[]): Promise<void> {
    const file = this.#model.files.get(chunks[0]?.path ?? "");
    invariant(file, "a request is for chunks of a file");
    let coming = chunks;
    this.#requests++;
    for (const chunk of chunks) this.#loading.add(chunkId(chunk));
    try {
      await streamSpans(this.#transport, file, chunks, {
        signal: this.#end.signal,
        stop: () => this.#paused || this.#storageFailure !== null || !this.#isWanted(coming),
        take: async (chunk, bytes) => {
          coming = coming.slice(1);
          await this.#arrive(chunk, bytes);
        },
      });
    } catch (error) {
      this.#fail(coming, error);
    } finally {
      this.#requests--;
      for (const chunk of coming) this.#loading.delete(chunkId(chunk));
    }
    this.#startRequests();
  }

  #isWanted(chunks: readonly Chunk[]): boolean {
    return chunks.some((chunk) => this.#urgent.has(chunkId(chunk)) || this.#queue.some(isSame(chunk)));
  }

  async #arrive(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const id = chunkId(chunk);
    this.#hot.add(chunk, bytes, false);
    this.#loading.delete(id);
    this.#urgent.delete(id);
    if (this.#readerRest() > 0) this.#delayed.add(chunk, bytes);
    else this.#startWrite(chunk, bytes);
    this.#waiters.resolve(id, bytes);
    while (this.#writingBytes > this.#limits.unwrittenBytes && this.#writes.size > 0) {
      await Promise.race(this.#writes.values());
    }
  }

  get #writingBytes(): number {
    return this.#hot.unwrittenBytes - this.#delayed.bytes;
  }

  #giveUp(chunk: Chunk): void {
    this.#queue = this.#queue.filter((other) => !isSame(chunk)(other));
    this.#hot.delete(chunk);
  }

  #startWrite(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): void {
    const id = chunkId(chunk);
    const write = this.#write(chunk, bytes);
    this.#writes.set(id, write);
    void write.finally(() => this.#writes.delete(id));
  }

  async #write(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.#store.put(this.#model.opened, chunk, bytes);
      this.#stored.set(chunkId(chunk), chunk);
    } catch (error) {
      this.#storageFailure = error;
      this.#waiters.rejectAll(error);
    }
    this.#hot.settle(chunk);
  }

  #fail(chunks: readonly Chunk[], error: unknown): void {
    this.#halted = true;
    for (const id of chunks.map(chunkId)) {
      this.#urgent.delete(id);
      this.#waiters.reject(id, error);
    }
  }
}

function isSame(wanted: Chunk): (chunk: Chunk) => boolean {
  return ({ path, index }) => path === wanted.path && index === wanted.index;
}

function sumBytes(chunks: Iterable<Chunk>): number {
  return [...chunks].reduce((sum, { start, end }) => sum + end - start, 0);
}
