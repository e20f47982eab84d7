import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type ModelServer, startModelServer } from "../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../scripts/model-server/served-model.ts";
import { AccessError } from "../errors.ts";
import { FAST_RETRY } from "../testing/sources/fast-retry.ts";
import { memoryChunkStore } from "../testing/stand-ins/memory-chunk-store.ts";
import { ChunkLoader } from "./chunks/chunk-loader.ts";
import { createSource } from "./create-source.ts";
import type { SourceReference } from "../api/source-api.ts";

const weights = Uint8Array.from({ length: 200_000 }, (_, index) => index & 255);
let server: ModelServer;

beforeAll(async () => {
  const files = memoryModel({ "config.json": "{}", "model.safetensors": weights });
  server = await startModelServer({ token: "hf_test", models: { "my/model": { files, private: true } } });
});
afterAll(async () => {
  await server.close();
});
afterEach(() => {
  server.faults.length = 0;
});

function makeSource(store = memoryChunkStore()) {
  const base = `${server.filesUrl}/my/page/`;
  return createSource({ base, hubUrl: server.hubUrl, timing: FAST_RETRY, store });
}
const at = (address: string): SourceReference => ({ kind: "address", address });
const middle = { path: "model.safetensors", start: 1000, end: 1005 };

describe("createSource", () => {
  it("resolves relative addresses against the page's folder", async () => {
    const source = makeSource();
    const { label } = await source.open(at("../model/"), null);
    expect(label).toBe(`${new URL(server.filesUrl).host}/my/model`);
    expect(await source.read(middle)).toEqual(weights.slice(1000, 1005));
  });

  it("opens a private repository with a token, whatever blanks were pasted around it", async () => {
    const source = makeSource();
    expect((await source.open(at("my/model"), " hf_test\n")).repository).toBe("my/model");
    expect(await source.read(middle)).toEqual(weights.slice(1000, 1005));
    await expect(source.open(at("my/model"), "hf_tést")).rejects.toThrow(/characters that no token has/);
    await expect(source.open(at("my/model"), "  ")).rejects.toThrow(AccessError);
  });

  it("lets the last of two openings win", async () => {
    const source = makeSource();
    const first = source.open(at("../model/"), null);
    const second = source.open(at("my/model"), "hf_test");
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    expect((await second).repository).toBe("my/model");
  });

  it("gives back what it has opened where another opening came first", async () => {
    const store = memoryChunkStore();
    let ask = () => {};
    const asked = new Promise<void>((resolve) => (ask = resolve));
    let answer = () => {};
    const answered = new Promise<void>((resolve) => (answer = resolve));
    vi.spyOn(store, "list").mockImplementation(async () => {
      ask();
      await answered;
      return [];
    });
    const closed = vi.spyOn(ChunkLoader.prototype, Symbol.dispose);
    const source = makeSource(store);
    const first = source.open(at("../model/"), null);
    await asked;
    const second = source.open(at("my/model"), "hf_test");
    answer();
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    await second;
    expect(closed).toHaveBeenCalledTimes(1);
    expect(await source.read(middle)).toEqual(weights.slice(1000, 1005));
    closed.mockRestore();
  });

  it("keeps the open model when another cannot be opened, and ends its reads when another is", async () => {
    const source = makeSource();
    await source.open(at("../model/"), null);
    await expect(source.open(at("../absent/"), null)).rejects.toThrow(/404/);
    expect(await source.readRange(middle)).toEqual(weights.slice(1000, 1005));
    server.faults.push({
      path: "model.safetensors",
      origin: "files",
      fault: { kind: "stall", afterBytes: 1 },
    });
    const reads = [source.readRange(middle), source.read(middle)].map(
      async (read) => await expect(read).rejects.toMatchObject({ name: "AbortError" }),
    );
    await source.open(at("my/model"), "hf_test");
    await Promise.all(reads);
  });

  it("refuses small files that are not small, and files that are not there", async () => {
    const source = makeSource();
    await source.open(at("../model/"), null);
    expect(await source.readFile("config.json", 2)).toEqual(new TextEncoder().encode("{}"));
    await expect(source.readFile("model.safetensors", 1024)).rejects.toThrow(
      /model\.safetensors has 195 KiB; more than 1 KiB is not expected/,
    );
    await expect(source.readFile("vocab.json", 1024)).rejects.toThrow(/^There is no file vocab\.json in /);
  });

  it("reports what came over the network", async () => {
    const source = makeSource();
    expect(source.progress()).toEqual({
      downloadedBytes: 0,
      bytesPerSecond: 0,
      storedBytes: 0,
      waiting: null,
    });
    await source.open(at("../model/"), null);
    expect(await source.missingBytes([middle])).toBe(weights.byteLength);
    const before = source.progress().downloadedBytes;
    await source.read(middle);
    expect(source.progress().downloadedBytes - before).toBe(weights.byteLength);
    expect(await source.missingBytes([middle])).toBe(0);
  });
});
