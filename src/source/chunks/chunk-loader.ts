// The download scheduler: brings chunks of one remote model into memory and IndexedDB, what is read first, what was announced next.

import { invariant } from "../../errors.ts";
import { arrayOf } from "../../spare-arrays.ts";
import { ChunkKeeper, sumBytes } from "./chunk-keeper.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { type ChunkBuffers, createChunkBuffers } from "./chunk-buffers.ts";
import { type Chunk, chunkId, chunksOf, coveredChunks } from "./chunks.ts";
import { type RemoteFile, type SpanSink, streamSpans } from "../http/fetch-range.ts";
import type { StreamSpans } from "../http/fetch-threads.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import { createReaderPace, type ReaderPace } from "./reader-pace.ts";
import { LOADER_LIMITS, type LoaderLimits } from "./loader-limits.ts";
import type { Transport } from "../http/retry.ts";
import { type RemoteModel, storedChunks } from "./remote-model.ts";
import { createUsedRanges } from "./used-ranges.ts";
import { createWaiters } from "./waiters.ts";
import { createWantedChunks } from "./wanted-chunks.ts";

/** Streams chunks of a file. */
type BoundStream = (file: RemoteFile, chunks: readonly Chunk[], sink: SpanSink<Chunk>) => Promise<void>;

export class ChunkLoader implements Disposable {
  readonly #stream: BoundStream;
  readonly #model: RemoteModel;
  readonly #limits: LoaderLimits;
  readonly #keeper: ChunkKeeper;
  readonly #wanted = createWantedChunks();
  readonly #waiters = createWaiters();
  readonly #buffers: ChunkBuffers;
  readonly #used = createUsedRanges();
  /** Chunks that a running request will bring. */
  readonly #loading = new Set<string>();
  readonly #end = new AbortController();
  readonly #pace: ReaderPace;
  #requests = 0;
  #paused = false;
  /** Why nothing is fetched ahead: the next read will try, and tell. */
  #halted = false;
  #storageFailure: unknown = null;

  private constructor(
    stream: BoundStream,
    store: ChunkStore,
    model: RemoteModel,
    limits: LoaderLimits,
    stored: readonly Chunk[],
  ) {
    this.#stream = stream;
    this.#model = model;
    this.#limits = limits;
    this.#pace = createReaderPace(limits.readerMs);
    this.#buffers = createChunkBuffers(limits);
    this.#keeper = new ChunkKeeper(store, model.opened, limits, stored, {
      givenUp: (chunk) => this.#wanted.forget([chunk]),
      left: (chunk, bytes) => this.#buffers.give(chunk, bytes),
      failed: (error) => {
        this.#storageFailure = error;
        this.#waiters.rejectAll(error);
      },
    });
  }

  /**
   * Finds what is stored of the model already.
   * @param stream how spans of a file come
   */
  static async open(
    transport: Transport,
    store: ChunkStore,
    model: RemoteModel,
    limits: LoaderLimits = LOADER_LIMITS,
    stream: StreamSpans = streamSpans,
  ): Promise<ChunkLoader> {
    const stored = await storedChunks(store, model, limits.chunkBytes);
    const bound: BoundStream = async (...of) => await stream(transport, ...of);
    return new ChunkLoader(bound, store, model, limits, stored);
  }

  get storedBytes(): number {
    return this.#keeper.storedBytes;
  }

  /** Chunks in memory, for tests of the bound. */
  get hotBytes(): number {
    return this.#keeper.hotBytes;
  }

  /**
   * The bytes of a range: from memory, else from IndexedDB, else from the network, ahead of all that was announced.
   * @param spare is filled in place of a new array, if it is large enough
   * @throws NetworkError, AccessError, StorageError; an AbortError when the loader ends
   */
  async read(range: FileRange, spare?: ArrayBuffer): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#read(range, spare, () => undefined);
  }

  /** The same for the last time: what nothing more is wanted of is dropped as it is read, and not written any more. */
  async take(range: FileRange, spare?: ArrayBuffer): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#read(range, spare, (part, chunk) => {
      this.#used.add(part);
      for (const used of this.#used.covered([chunk])) this.#keeper.drop(used);
    });
  }

  async #read(
    range: FileRange,
    spare: ArrayBuffer | undefined,
    taken: (part: FileRange, chunk: Chunk) => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.#pace.read();
    const chunks = this.#chunksOf(range);
    const bytes = arrayOf(range.end - range.start, spare);
    const left = new Set(chunks.map(chunkId));
    for (const id of left) this.#buffers.hold(id);
    for (const chunk of chunks) if (this.#isMissing(chunk)) this.#wanted.urge(chunk);
    try {
      for (const chunk of chunks) {
        const start = Math.max(range.start, chunk.start);
        const end = Math.min(range.end, chunk.end);
        const own = await this.#load(chunk);
        bytes.set(own.subarray(start - chunk.start, end - chunk.start), start - range.start);
        left.delete(chunkId(chunk));
        this.#buffers.letGo(chunkId(chunk));
        // A long range keeps up for as long as its chunks come.
        this.#pace.read();
        taken({ path: range.path, start, end }, chunk);
      }
    } finally {
      for (const id of left) this.#buffers.letGo(id);
      for (const id of chunks.map(chunkId)) if (!this.#waiters.has(id)) this.#wanted.calm(id);
    }
    this.#startRequests();
    return bytes;
  }

  /** Downloads these ranges in the background, in this order, instead of what was asked before. */
  prefetch(ranges: readonly FileRange[]): void {
    const chunks = ranges.flatMap((range) => this.#chunksOf(range));
    // What was read for the last time is not fetched again just because its layer is still at work.
    const used = new Set(this.#used.covered(chunks).map(chunkId));
    this.#wanted.announce(chunks.filter((chunk) => !used.has(chunkId(chunk))));
    this.#goOn();
  }

  /** Downloads nothing more ahead; what waits to be written is written, what waits to be read given up. */
  release(): void {
    this.#wanted.announce([]);
    this.#used.clear();
    this.#keeper.flush();
    this.#keeper.clear();
    this.#buffers.clear();
    this.#goOn();
  }

  /**
   * Says that a range will not be read again, if all goes well. Chunks that wait to be written are given up before
   * others when memory for them runs short; those that are stored stay until they are evicted.
   */
  use(range: FileRange): void {
    this.#used.add(range);
    for (const chunk of this.#used.covered(this.#chunksOf(range))) this.#keeper.use(chunk);
  }

  /** Deletes the chunks that lie wholly in the union of the ranges. */
  async evict(ranges: readonly FileRange[]): Promise<void> {
    const done = coveredChunks([...this.#keeper.chunks(), ...this.#wanted.announced], ranges);
    this.#wanted.forget(done);
    await this.#keeper.evict(done);
  }

  missingBytes(ranges: readonly FileRange[]): number {
    const chunks = ranges.flatMap((range) => this.#chunksOf(range));
    const missing = chunks.filter((chunk) => !this.#keeper.has(chunk));
    return sumBytes(new Map(missing.map((chunk) => [chunkId(chunk), chunk])).values());
  }

  /** Ends running requests at their next whole chunk. */
  pause(): void {
    this.#paused = true;
    this.#keeper.flush();
  }

  resume(): void {
    this.#paused = false;
    this.#goOn();
  }

  /** Deletes all that is stored of the model; what a running job still needs is downloaded again. */
  async deleteStored(): Promise<void> {
    await this.#keeper.deleteStored();
  }

  [Symbol.dispose](): void {
    this.#pace[Symbol.dispose]();
    this.#keeper[Symbol.dispose]();
    this.#buffers.clear();
    this.#end.abort();
    this.#waiters.rejectAll(this.#end.signal.reason);
  }

  #chunksOf(range: FileRange): Chunk[] {
    const file = this.#model.files.get(range.path);
    invariant(file && range.start >= 0 && range.end <= file.bytes, `no such range of ${range.path}`);
    return chunksOf(range, file.bytes, this.#limits.chunkBytes);
  }

  async #load(chunk: Chunk): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      const found = await this.#keeper.find(chunk);
      if (found) return found;
      // It may have come since it was looked for: nobody would bring it once more, and this read would wait for ever.
      if (!this.#keeper.has(chunk)) return await this.#download(chunk);
    }
  }

  async #download(chunk: Chunk): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#storageFailure) throw this.#storageFailure;
    this.#end.signal.throwIfAborted();
    const id = chunkId(chunk);
    const bytes = this.#waiters.wait(id);
    this.#wanted.urge(chunk);
    this.#halted = false;
    this.#startRequests();
    return await bytes;
  }

  readonly #isMissing = (chunk: Chunk): boolean =>
    !this.#loading.has(chunkId(chunk)) && !this.#keeper.has(chunk);

  #goOn(): void {
    this.#halted = false;
    this.#storageFailure = null;
    this.#startRequests();
  }

  #startRequests(): void {
    while (!this.#paused && !this.#storageFailure && !this.#end.signal.aborted) {
      const urgent = this.#wanted.urgent(this.#isMissing);
      const waits = this.#halted || this.#isFarAhead();
      const next = urgent ?? (waits ? undefined : this.#wanted.next(this.#isMissing));
      if (!next || this.#requests >= this.#limits.requests + (urgent ? 1 : 0)) return;
      void this.#request(this.#wanted.adjoining(next, this.#limits.requestChunks, this.#isMissing));
    }
  }

  /**
   * True while memory holds plenty for a reader that keeps up. Fetching further ahead would send every byte through
   * IndexedDB and back: on an H200, 6 layers of 8B took 21.8 s instead of the 9.1 s that storing them takes.
   */
  #isFarAhead(): boolean {
    const ahead = this.#keeper.unreadBytes + this.#loading.size * this.#limits.chunkBytes;
    if (this.#pace.rest() <= 0 || ahead < this.#limits.aheadBytes) return false;
    this.#pace.afterRest(() => this.#startRequests());
    return true;
  }

  async #request(chunks: readonly Chunk[]): Promise<void> {
    const file = this.#model.files.get(chunks[0]?.path ?? "");
    invariant(file, "a request is for chunks of a file");
    let coming = chunks;
    this.#requests++;
    for (const chunk of chunks) this.#loading.add(chunkId(chunk));
    try {
      await this.#stream(file, chunks, {
        signal: this.#end.signal,
        room: (chunk) => this.#buffers.room(chunk),
        stop: () => this.#paused || this.#storageFailure !== null || !this.#wanted.wants(coming),
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

  async #arrive(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const id = chunkId(chunk);
    this.#loading.delete(id);
    this.#wanted.calm(id);
    this.#keeper.add(chunk, bytes, this.#pace.rest() > 0);
    if (this.#waiters.has(id)) this.#keeper.read(chunk);
    this.#waiters.resolve(id, bytes);
    await this.#keeper.room();
  }

  #fail(chunks: readonly Chunk[], error: unknown): void {
    this.#halted = true;
    for (const id of chunks.map(chunkId)) {
      this.#wanted.calm(id);
      this.#waiters.reject(id, error);
    }
  }
}
