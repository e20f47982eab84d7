import { describe, expect, it, vi } from "vitest";
import { NetworkError } from "../../errors.ts";
import { eventually } from "../../testing/eventually.ts";
import { memoryChunkStore } from "../../testing/stand-ins/memory-chunk-store.ts";
import { A, B, CHUNK, contents, range, serveChunks, wholeFile } from "../../testing/sources/serve-chunks.ts";

const served = serveChunks();
const { open, requests } = served;

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
    expect(served.server.log).toHaveLength(1);
  });

  it("lets a read that nobody announced pass the queue", async () => {
    const { loader } = await open();
    served.server.faults.push({ path: A, fault: { kind: "stall", afterBytes: 100 }, times: 2 });
    loader.prefetch([wholeFile(A)]);
    await eventually(() => expect(served.server.log).toHaveLength(2));
    expect(await loader.read(range(B, 7000, 7100))).toEqual(contents[B].slice(7000, 7100));
    expect(requests()[2]).toEqual([B, "bytes=7000-7999"]);
  });

  it("joins reads of one chunk into one request", async () => {
    const { loader } = await open();
    const reads = await Promise.all([1, 2, 3].map(async (at) => await loader.read(range(B, at, at + 500))));
    expect(reads).toEqual([1, 2, 3].map((at) => contents[B].slice(at, at + 500)));
    expect(served.server.log).toHaveLength(1);
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
    expect(served.server.log).toEqual([]);
    expect(settled).not.toHaveBeenCalled();
    loader.resume();
    expect(await read).toEqual(contents[A].slice(0, 10));
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
    served.server.faults.push({ path: A, fault: { kind: "status", status: 503 } });
    loader.prefetch([range(A, 0, 2000)]);
    await expect(loader.read(range(A, 0, 2000))).rejects.toThrow(NetworkError);
    served.server.faults.length = 0;
    expect(await loader.read(range(A, 0, 2000))).toEqual(contents[A].slice(0, 2000));
  });

  it("does not hammer a server that fails while nobody reads", async () => {
    const { loader } = await open(memoryChunkStore(), { requests: 1 });
    served.server.faults.push({ fault: { kind: "status", status: 404 } });
    loader.prefetch([wholeFile(A), wholeFile(B)]);
    await eventually(() => expect(served.server.log).toHaveLength(1));
    await expect(loader.read(range(B, 0, 10))).rejects.toThrow(/404/);
    // One for the reader; one more if it asked before the first had failed. Of both files' chunks there are dozens.
    expect(served.server.log.length).toBeGreaterThanOrEqual(2);
    expect(served.server.log.length).toBeLessThanOrEqual(3);
  });

  it("rejects waiting reads when it ends", async () => {
    const { loader } = await open();
    served.server.faults.push({ fault: { kind: "stall", afterBytes: 10 } });
    const read = loader.read(range(A, 0, 10_000));
    loader[Symbol.dispose]();
    await expect(read).rejects.toMatchObject({ name: "AbortError" });
    await expect(loader.read(range(A, 0, 10))).rejects.toMatchObject({ name: "AbortError" });
  });
});
