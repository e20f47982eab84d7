import { describe, expect, it, vi } from "vitest";
import { StorageError } from "../../errors.ts";
import { eventually } from "../../testing/eventually.ts";
import { memoryChunkStore } from "../../testing/stand-ins/memory-chunk-store.ts";
import {
  A,
  B,
  CHUNK,
  contents,
  limits,
  range,
  serveChunks,
  wholeFile,
} from "../../testing/sources/serve-chunks.ts";

const served = serveChunks();
const { open, requests } = served;

/** A promise that something else keeps or breaks. */
function gate() {
  let pass = () => {};
  const passed = new Promise<void>((resolve) => {
    pass = resolve;
  });
  return { pass, passed };
}

describe("what a ChunkLoader keeps", () => {
  it("reads stored chunks back when they have left memory, and bounds memory", async () => {
    const { loader, store } = await open();
    loader.prefetch([wholeFile(A)]);
    await eventually(() => expect(loader.missingBytes([wholeFile(A)])).toBe(0));
    await eventually(() => expect(loader.storedBytes).toBe(20_500));
    expect(loader.hotBytes).toBeLessThanOrEqual(limits.hotBytes);
    expect(await loader.read(wholeFile(A))).toEqual(contents[A]);
    expect(store.reads.length).toBeGreaterThanOrEqual(15);
    // What is needed soonest stayed in memory.
    expect(store.reads).not.toContain(`${A} 0`);
    expect(loader.hotBytes).toBeLessThanOrEqual(limits.hotBytes);
    loader.release();
    expect(loader.hotBytes).toBe(0);
  });

  it("goes on with what an earlier session stored", async () => {
    const { loader, store } = await open();
    await loader.read(range(A, 0, 3000));
    await eventually(() => expect(store.chunks.size).toBe(3));
    const { loader: later } = await open(store);
    expect(later.storedBytes).toBe(3000);
    expect(later.missingBytes([range(A, 0, 5000)])).toBe(2000);
    expect(await later.read(range(A, 0, 5000))).toEqual(contents[A].slice(0, 5000));
    expect(requests()).toEqual([[A, "bytes=3000-4999"]]);
  });

  it("downloads again what has vanished from the store", async () => {
    const { loader, store } = await open();
    await loader.read(range(A, 0, 2000));
    await eventually(() => expect(store.chunks.size).toBe(2));
    const { loader: later } = await open(store);
    await store.deleteSource(null);
    expect(await later.read(range(A, 0, 2000))).toEqual(contents[A].slice(0, 2000));
    expect(requests()).not.toEqual([]);
  });

  it("writes nothing of what a reader is done with before its time, and all the rest", async () => {
    const { loader, store } = await open(memoryChunkStore(), {
      readerMs: 3_600_000,
      hotBytes: 100 * CHUNK,
      delayMs: 3_600_000,
      delayedBytes: 4 * CHUNK,
    });
    const put = vi.spyOn(store, "put");
    await loader.read(range(A, 0, 4 * CHUNK));
    expect(put).not.toHaveBeenCalled();
    await loader.evict([range(A, 0, 2 * CHUNK)]);
    await loader.read(range(A, 4 * CHUNK, 7 * CHUNK));
    await eventually(() => expect([...store.chunks.keys()].length).toBe(1));
    expect(put.mock.calls.map(([, chunk]) => chunk.index)).toEqual([2]);
    loader.pause();
    await eventually(() => expect(loader.storedBytes).toBe(5 * CHUNK));
    expect(put.mock.calls.map(([, chunk]) => chunk.index)).toEqual([2, 3, 4, 5, 6]);
  });

  it("gives up what was used, and fetches it no more, when memory for waiting chunks runs short", async () => {
    // One request at a time: its four chunks are used before a fifth can come.
    const { loader, store } = await open(memoryChunkStore(), {
      requests: 1,
      readerMs: 3_600_000,
      hotBytes: 100 * CHUNK,
      delayMs: 3_600_000,
      delayedBytes: 4 * CHUNK,
    });
    const put = vi.spyOn(store, "put");
    loader.prefetch([range(A, 0, 7 * CHUNK)]);
    await loader.read(range(A, 0, 3 * CHUNK));
    loader.use(range(A, 0, 1500));
    loader.use(range(A, 1500, 3 * CHUNK - 1));
    await loader.read(range(A, 3 * CHUNK, 7 * CHUNK));
    // The third chunk's last byte is still wanted: it is written, not given up.
    await eventually(() => expect(put.mock.calls.map(([, chunk]) => chunk.index)).toEqual([2]));
    loader.pause();
    await eventually(() => expect(loader.storedBytes).toBe(5 * CHUNK));
    served.server.log.length = 0;
    loader.resume();
    loader.prefetch([range(A, 7 * CHUNK, 8 * CHUNK)]);
    await loader.read(range(A, 7 * CHUNK, 8 * CHUNK));
    expect(requests()).toEqual([[A, "bytes=7000-7999"]]);
  });

  it("writes nothing that waits when all is to be deleted", async () => {
    const store = memoryChunkStore();
    const { loader } = await open(store, {
      readerMs: 3_600_000,
      delayMs: 3_600_000,
      delayedBytes: 100 * CHUNK,
      hotBytes: 100 * CHUNK,
    });
    const puts = vi.spyOn(store, "put");
    await loader.read(range(A, 3, 2000));
    await loader.deleteStored();
    expect([puts.mock.calls.length, loader.hotBytes]).toEqual([0, 0]);
    expect(await loader.read(range(A, 3, 2000))).toEqual(contents[A].slice(3, 2000));
  });

  it("drops what is read for the last time, writes none of it, and fetches it no more", async () => {
    const { loader, store } = await open(memoryChunkStore(), {
      readerMs: 3_600_000,
      delayMs: 3_600_000,
      delayedBytes: 100 * CHUNK,
      hotBytes: 100 * CHUNK,
    });
    const halves = [range(A, 0, 10_500), range(A, 10_500, 20_500)] as const;
    expect(await loader.take(halves[0])).toEqual(contents[A].slice(0, 10_500));
    // The chunk that holds both ends waits for the other half.
    expect(loader.hotBytes).toBeGreaterThanOrEqual(CHUNK);
    expect(await loader.take(halves[1])).toEqual(contents[A].slice(10_500));
    expect(loader.hotBytes).toBe(0);
    const before = served.server.log.length;
    loader.prefetch([wholeFile(A), wholeFile(B)]);
    await eventually(() => expect(loader.missingBytes([wholeFile(B)])).toBe(0));
    expect(
      requests()
        .slice(before)
        .every(([path]) => path === B),
    ).toBe(true);
    loader.release();
    await eventually(() => expect(store.chunks.size).toBe(8));
    expect(await loader.read(range(A, 3, 2000))).toEqual(contents[A].slice(3, 2000));
  });

  it("stores what was used while memory lasts", async () => {
    const { loader } = await open(memoryChunkStore(), {
      readerMs: 3_600_000,
      delayMs: 3_600_000,
      delayedBytes: 100 * CHUNK,
    });
    await loader.read(range(A, 0, 2 * CHUNK));
    loader.use(range(A, 0, 2 * CHUNK));
    loader.pause();
    await eventually(() => expect(loader.storedBytes).toBe(2 * CHUNK));
  });

  it("writes what was read when its time has come", async () => {
    const { loader } = await open(memoryChunkStore(), {
      readerMs: 3_600_000,
      delayMs: 20,
      delayedBytes: 100 * CHUNK,
    });
    await loader.read(range(A, 0, 2 * CHUNK));
    await eventually(() => expect(loader.storedBytes).toBe(2 * CHUNK));
  });

  it("waits for the store when too much is unwritten", async () => {
    const { loader, store } = await open(memoryChunkStore(), { requests: 1, requestChunks: 20 });
    const { pass, passed } = gate();
    store.beforeWrite = async () => await passed;
    loader.prefetch([wholeFile(A)]);
    await eventually(() => expect(loader.hotBytes).toBe(4 * CHUNK));
    expect(store.chunks.size).toBe(0);
    pass();
    await eventually(() => expect(store.chunks.size).toBe(21));
  });

  it("forgets chunks that lie wholly in finished ranges, and does not fetch them again", async () => {
    const { loader, store } = await open();
    loader.prefetch([range(A, 0, 10_000)]);
    await eventually(() => expect(store.chunks.size).toBe(10));
    await loader.evict([range(A, 0, 1500), range(A, 1500, 4200)]);
    expect(store.chunks.size).toBe(6);
    expect(loader.storedBytes).toBe(6000);
    await loader.evict([range(A, 0, 4200), range(A, 4200, 5000)]);
    expect(store.chunks.size).toBe(5);
    loader.resume();
    expect(loader.missingBytes([range(A, 0, 10_000)])).toBe(5000);
    expect(served.server.log).toHaveLength(3);
  });

  it("counts what the browser does not delete as stored, and deletes it with what comes later", async () => {
    const { loader, store } = await open();
    loader.prefetch([range(A, 0, 2000)]);
    await eventually(() => expect(store.chunks.size).toBe(2));
    const refuse = vi.spyOn(store, "delete").mockRejectedValueOnce(new StorageError("no"));
    await loader.evict([range(A, 0, 1000)]);
    expect(loader.storedBytes).toBe(2000);
    await loader.evict([range(A, 0, 2000)]);
    expect(refuse).toHaveBeenCalledTimes(2);
    expect(store.chunks.size).toBe(0);
  });

  it("brings a chunk that the browser has lost to all who read it, however late they learn of it", async () => {
    const { pass, passed } = gate();
    const store = { ...memoryChunkStore(), list: async () => [{ path: A, index: 0 }] };
    const get = vi.spyOn(store, "get").mockResolvedValueOnce(undefined);
    get.mockImplementationOnce(async () => {
      await passed;
      return undefined;
    });
    const { loader } = await open(store);
    const [first, second] = [loader.read(range(A, 0, 10)), loader.read(range(A, 0, 10))];
    expect(await first).toEqual(contents[A].slice(0, 10));
    pass();
    expect(await second).toEqual(contents[A].slice(0, 10));
  });

  it("evicts a chunk whose write has not ended", async () => {
    const { loader, store } = await open();
    const { pass, passed } = gate();
    store.beforeWrite = async () => await passed;
    await loader.read(range(A, 0, 1000));
    const evicted = loader.evict([range(A, 0, 1000)]);
    pass();
    await evicted;
    expect(store.chunks.size).toBe(0);
    expect(loader.storedBytes).toBe(0);
  });

  it("ends with the store's sentence when the disk is full, and goes on when there is room", async () => {
    const { loader, store } = await open();
    const { pass, passed } = gate();
    store.beforeWrite = async () => {
      await passed;
      throw new StorageError("The browser's storage is full.");
    };
    loader.prefetch([wholeFile(A)]);
    const read = loader.read(wholeFile(A));
    pass();
    await expect(read).rejects.toThrow(StorageError);
    await expect(loader.read(wholeFile(B))).rejects.toThrow(/storage is full/);
    store.beforeWrite = async () => {};
    loader.resume();
    expect(await loader.read(wholeFile(A))).toEqual(contents[A]);
  });
});
