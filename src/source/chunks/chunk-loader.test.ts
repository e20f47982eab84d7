import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ModelServer, startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { NetworkError, StorageError } from "../../errors.ts";
import { eventually } from "../../testing/eventually.ts";
import { testTransport } from "../../testing/fast-retry.ts";
import { memoryChunkStore } from "../../testing/memory-chunk-store.ts";
import { ChunkLoader } from "./chunk-loader.ts";
import type { LoaderLimits } from "./loader-limits.ts";
import { openFolder } from "../folders/open-folder.ts";

const CHUNK = 1000;
const A = "model-1.safetensors";
const B = "model-2.safetensors";
const bytesOf = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + seed + (index >> 8)) & 255);
const contents = { [A]: bytesOf(20_500, 1), [B]: bytesOf(8000, 2) };
const limits: LoaderLimits = {
  chunkBytes: CHUNK,
  requests: 2,
  requestChunks: 4,
  hotBytes: 6 * CHUNK,
  aheadBytes: 6 * CHUNK,
  spareBytes: 4 * CHUNK,
  unwrittenBytes: 3 * CHUNK,
  readerMs: 0,
  delayMs: 0,
  delayedBytes: 0,
};
const loaders: ChunkLoader[] = [];
let server: ModelServer;

// A server each: what an ended test's requests still do must not stand in the log of the next.
beforeEach(async () => {
  const index = JSON.stringify({ weight_map: { a: A, b: B } });
  const files = memoryModel({ "config.json": "{}", "model.safetensors.index.json": index, ...contents });
  server = await startModelServer({ models: { "my/model": { files } } });
});
afterEach(async () => {
  for (const loader of loaders.splice(0)) loader[Symbol.dispose]();
  await server.close();
});

async function open(store = memoryChunkStore(), changes: Partial<LoaderLimits> = {}) {
  const transport = testTransport();
  const url = `${server.filesUrl}/my/model/`;
  const folder = await openFolder(transport, { url, file: null }, new AbortController().signal);
  if (folder.kind !== "remote") throw new Error("a folder of a server is remote");
  server.log.length = 0;
  const loader = await ChunkLoader.open(transport, store, folder, { ...limits, ...changes });
  loaders.push(loader);
  return { loader, store };
}

const range = (path: string, start: number, end: number) => ({ path, start, end });
const wholeFile = (path: typeof A | typeof B) => range(path, 0, contents[path].byteLength);
const requests = () => server.log.map(({ path, range: bytes }) => [path.split("/").at(-1), bytes]);
/** A promise that something else keeps or breaks. */
function gate() {
  let pass = () => {};
  const passed = new Promise<void>((resolve) => {
    pass = resolve;
  });
  return { pass, passed };
}

describe("ChunkLoader", () => {
  it("stays near a reader that keeps up", async () => {
    const { loader, store } = await open(memoryChunkStore(), { readerMs: 3_600_000, hotBytes: 8 * CHUNK });
    const get = vi.spyOn(store, "get");
    await loader.read(range(A, 0, CHUNK));
    loader.prefetch([wholeFile(A)]);
    for (let start = CHUNK; start < 20 * CHUNK; start += CHUNK) {
      expect(await loader.read(range(A, start, start + CHUNK))).toEqual(
        contents[A].slice(start, start + CHUNK),
      );
      expect(loader.hotBytes).toBeLessThanOrEqual(8 * CHUNK);
    }
    expect(get).not.toHaveBeenCalled();
  });

  it("runs as far ahead of a reader that has waited for its chunks", async () => {
    const kept = { hotBytes: 20 * CHUNK, delayedBytes: 20 * CHUNK, delayMs: 3_600_000, readerMs: 3_600_000 };
    const { loader } = await open(memoryChunkStore(), { ...kept, aheadBytes: 2 * CHUNK, requestChunks: 1 });
    await loader.read(range(A, 0, 5 * CHUNK));
    loader.prefetch([wholeFile(B)]);
    await eventually(() => expect(requests().filter(([path]) => path === B)).toHaveLength(2));
  });

  it("reads any range, by whole chunks, and stores them", async () => {
    const { loader, store } = await open();
    expect(await loader.read(range(A, 1500, 3200))).toEqual(contents[A].slice(1500, 3200));
    expect(requests()).toEqual([[A, "bytes=1000-3999"]]);
    await eventually(() => expect(loader.storedBytes).toBe(3000));
    expect(store.chunks.size).toBe(3);
    expect(await loader.read(range(A, 20_400, 20_500))).toEqual(contents[A].slice(20_400));
    expect(await loader.read(range(A, 5, 5))).toEqual(new Uint8Array(0));
  });

  it("prefetches in order, several chunks by one request", async () => {
    const { loader, store } = await open(memoryChunkStore(), { requests: 1 });
    loader.prefetch([range(B, 2000, 8000), range(A, 0, 5000)]);
    expect(loader.missingBytes([wholeFile(A), wholeFile(B)])).toBe(28_500);
    await eventually(() => expect(store.chunks.size).toBe(11));
    expect(requests()).toEqual([
      [B, "bytes=2000-5999"],
      [B, "bytes=6000-7999"],
      [A, "bytes=0-3999"],
      [A, "bytes=4000-4999"],
    ]);
    expect(loader.missingBytes([wholeFile(A), wholeFile(B)])).toBe(17_500);
    expect(loader.missingBytes([range(A, 100, 4900), range(A, 4900, 5100)])).toBe(1000);
  });

  it("hands out what was just downloaded without reading it back", async () => {
    const { loader, store } = await open();
    loader.prefetch([range(A, 0, 4000)]);
    await eventually(() => expect(loader.storedBytes).toBe(4000));
    expect(await loader.read(range(A, 500, 3500))).toEqual(contents[A].slice(500, 3500));
    expect(store.reads).toEqual([]);
    expect(server.log).toHaveLength(1);
  });

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

  it("lets a read that nobody announced pass the queue", async () => {
    const { loader } = await open();
    server.faults.push({ path: A, fault: { kind: "stall", afterBytes: 100 }, times: 2 });
    loader.prefetch([wholeFile(A)]);
    await eventually(() => expect(server.log).toHaveLength(2));
    expect(await loader.read(range(B, 7000, 7100))).toEqual(contents[B].slice(7000, 7100));
    expect(requests()[2]).toEqual([B, "bytes=7000-7999"]);
  });

  it("joins reads of one chunk into one request", async () => {
    const { loader } = await open();
    const reads = await Promise.all([1, 2, 3].map(async (at) => await loader.read(range(B, at, at + 500))));
    expect(reads).toEqual([1, 2, 3].map((at) => contents[B].slice(at, at + 500)));
    expect(server.log).toHaveLength(1);
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
    server.log.length = 0;
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
    const before = server.log.length;
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

  it("stops at a chunk's end when paused, and goes on when resumed", async () => {
    const { loader, store } = await open(memoryChunkStore(), { requests: 1 });
    store.beforeWrite = async () => {
      loader.pause();
    };
    loader.prefetch([wholeFile(B)]);
    await eventually(() => expect(store.chunks.size).toBeGreaterThan(0));
    const read = loader.read(wholeFile(B));
    const { size } = store.chunks;
    expect(size).toBeLessThan(8);
    store.beforeWrite = async () => {};
    loader.resume();
    expect(await read).toEqual(contents[B]);
  });

  it("makes reads wait while it is paused", async () => {
    const { loader } = await open();
    loader.pause();
    const settled = vi.fn<() => void>();
    const read = loader.read(range(A, 0, 10)).finally(settled);
    loader.prefetch([wholeFile(B)]);
    expect(server.log).toEqual([]);
    expect(settled).not.toHaveBeenCalled();
    loader.resume();
    expect(await read).toEqual(contents[A].slice(0, 10));
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
    expect(server.log).toHaveLength(3);
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

  it("drops what is no longer wanted when other ranges are announced", async () => {
    const { loader, store } = await open(memoryChunkStore(), { requests: 1 });
    store.beforeWrite = async () => {
      loader.prefetch([range(B, 0, 1000)]);
    };
    loader.prefetch([wholeFile(A)]);
    await eventually(() => expect(requests()).toContainEqual([B, "bytes=0-999"]));
    await eventually(() => expect(loader.missingBytes([range(B, 0, 1000)])).toBe(0));
    expect(requests()).toEqual([
      [A, "bytes=0-3999"],
      [B, "bytes=0-999"],
    ]);
  });

  it("tells a failed download to the read that needs it, and tries again for the next", async () => {
    const { loader } = await open();
    server.faults.push({ path: A, fault: { kind: "status", status: 503 } });
    loader.prefetch([range(A, 0, 2000)]);
    await expect(loader.read(range(A, 0, 2000))).rejects.toThrow(NetworkError);
    server.faults.length = 0;
    expect(await loader.read(range(A, 0, 2000))).toEqual(contents[A].slice(0, 2000));
  });

  it("does not hammer a server that fails while nobody reads", async () => {
    const { loader } = await open(memoryChunkStore(), { requests: 1 });
    server.faults.push({ fault: { kind: "status", status: 404 } });
    loader.prefetch([wholeFile(A), wholeFile(B)]);
    await eventually(() => expect(server.log).toHaveLength(1));
    await expect(loader.read(range(B, 0, 10))).rejects.toThrow(/404/);
    // One for the reader; one more if it asked before the first had failed. Of both files' chunks there are dozens.
    expect(server.log.length).toBeGreaterThanOrEqual(2);
    expect(server.log.length).toBeLessThanOrEqual(3);
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

  it("rejects waiting reads when it ends", async () => {
    const { loader } = await open();
    server.faults.push({ fault: { kind: "stall", afterBytes: 10 } });
    const read = loader.read(range(A, 0, 10_000));
    loader[Symbol.dispose]();
    await expect(read).rejects.toMatchObject({ name: "AbortError" });
    await expect(loader.read(range(A, 0, 10))).rejects.toMatchObject({ name: "AbortError" });
  });
});
