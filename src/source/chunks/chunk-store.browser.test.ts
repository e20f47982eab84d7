import { afterEach, describe, expect, it, vi } from "vitest";
import { StorageError } from "../../errors.ts";
import { openChunkStore } from "./chunk-store.ts";
import { CHUNK_BYTES, chunkAt } from "./chunks.ts";
import type { OpenedSource } from "../../api/source-api.ts";

const FILE_BYTES = CHUNK_BYTES + 100;

function sourceOf(key: string): OpenedSource {
  const files = [{ path: "model.safetensors", bytes: FILE_BYTES }];
  return { key, label: `label of ${key}`, name: key, repository: null, revision: null, host: "h", files };
}

const first = chunkAt("model.safetensors", 0, FILE_BYTES);
const last = chunkAt("model.safetensors", 1, FILE_BYTES);
const store = openChunkStore("layerpress-store-test");

afterEach(async () => {
  await store.deleteSource(null);
});

describe("the chunk store", () => {
  it("keeps chunks by source, file and index, beyond its own life", async () => {
    await store.put(sourceOf("a"), first, new Uint8Array(CHUNK_BYTES).fill(1));
    await store.put(sourceOf("a"), last, new Uint8Array(100).fill(2));
    await store.put(sourceOf("a/b"), last, new Uint8Array(100).fill(3));
    const later = openChunkStore("layerpress-store-test");
    expect(await later.list("a")).toEqual([
      { path: "model.safetensors", index: 0 },
      { path: "model.safetensors", index: 1 },
    ]);
    expect(await later.get("a", last)).toEqual(new Uint8Array(100).fill(2));
    expect(await later.get("a/b", first)).toBeUndefined();
    expect(await later.sources()).toEqual([
      { key: "a", label: "label of a", bytes: FILE_BYTES },
      { key: "a/b", label: "label of a/b", bytes: 100 },
    ]);
  });

  it("deletes chunks, sources, and all", async () => {
    for (const key of ["a", "a/b", "b"]) await store.put(sourceOf(key), last, new Uint8Array(100));
    await store.delete("b", [last]);
    expect((await store.sources()).map(({ key }) => key)).toEqual(["a", "a/b"]);
    await store.deleteSource("a");
    expect((await store.sources()).map(({ key }) => key)).toEqual(["a/b"]);
    await store.deleteSource(null);
    expect(await store.sources()).toEqual([]);
  });

  it("takes a chunk of the wrong length for none", async () => {
    await store.put(sourceOf("a"), last, new Uint8Array(99));
    expect(await store.get("a", last)).toBeUndefined();
  });

  it.each([
    ["QuotaExceededError", /storage is full: 16 MiB of model\.safetensors could not be stored/],
    ["UnknownError", /could not store 16 MiB of model\.safetensors \(UnknownError\)/],
  ])("says how much could not be stored on a %s", async (name, message) => {
    const put = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
      throw new DOMException("refused", name);
    });
    const failure = store.put(sourceOf("a"), first, new Uint8Array(CHUNK_BYTES));
    await expect(failure).rejects.toThrow(StorageError);
    await expect(failure).rejects.toThrow(message);
    put.mockRestore();
    expect(await store.list("a")).toEqual([]);
  });

  it("says what to do where nothing can be opened, whatever was asked", async () => {
    const open = vi.spyOn(IDBFactory.prototype, "open").mockImplementation(() => {
      throw new DOMException("Internal error opening backing store for indexedDB.open.", "UnknownError");
    });
    const closed = openChunkStore("layerpress-closed-test");
    const sentence = /does not open: Internal error .*The disk may be full: free space\./;
    const asked = [
      async () => await closed.list("a"),
      async () => await closed.delete("a", [first]),
      async () => await closed.deleteSource("a"),
      async () => await closed.sources(),
    ];
    for (const ask of asked) {
      await expect(ask()).rejects.toThrow(sentence);
      await expect(ask()).rejects.toThrow(StorageError);
    }
    open.mockRestore();
  });
});
