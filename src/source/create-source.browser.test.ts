// The network thread in a real browser: real CORS, redirects and IndexedDB.

import * as Comlink from "comlink";
import { afterEach, describe, expect, inject, it } from "vitest";
import type { InjectedServer } from "../../scripts/model-server/model-server-setup.ts";
import { eventually } from "../testing/eventually.ts";
import { FAST_RETRY } from "../testing/sources/fast-retry.ts";
import { CHUNK_BYTES } from "./chunks/chunks.ts";
import { createSource } from "./create-source.ts";
import type { SourceApi, SourceReference } from "../api/source-api.ts";

const { hubUrl, filesUrl, token }: InjectedServer = inject("modelServer");
const SHARD = "model-00001-of-00002.safetensors";

const folder = (name: string): SourceReference => ({ kind: "address", address: `${filesUrl}/test/${name}/` });
const source = () => createSource({ base: location.href, hubUrl, timing: FAST_RETRY });
const workers: Worker[] = [];

function startWorker(): Comlink.Remote<SourceApi> {
  const worker = new Worker(new URL("../../workers/source.ts", import.meta.url), { type: "module" });
  workers.push(worker);
  return Comlink.wrap<SourceApi>(worker);
}

/** The whole file by one plain request, to compare with. */
async function fetchWhole(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(`${filesUrl}/test/large/${path}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function isEqual(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((bytes) => crypto.subtle.digest("SHA-256", bytes)));
  return String(new Uint8Array(first ?? [])) === String(new Uint8Array(second ?? []));
}

afterEach(async () => {
  for (const worker of workers.splice(0)) worker.terminate();
  await source().deleteStored(null);
});

describe("the source worker", () => {
  it("reads ranges through a redirect to another origin, and goes on after it was killed", async () => {
    const first = startWorker();
    const opened = await first.open(folder("large"), null);
    const size = opened.files.find(({ path }) => path === SHARD)?.bytes ?? 0;
    expect(size).toBeGreaterThan(2 * CHUNK_BYTES);
    const whole = { path: SHARD, start: 0, end: size };
    await first.prefetch([whole]);
    await eventually(async () => {
      expect((await first.progress()).storedBytes).toBeGreaterThan(0);
    });
    workers.pop()?.terminate();

    const second = startWorker();
    expect((await second.open(folder("large"), null)).key).toBe(opened.key);
    const missing = await second.missingBytes([whole]);
    expect(missing).toBeLessThan(size);
    const { downloadedBytes } = await second.progress();
    expect(await isEqual(await second.read(whole), await fetchWhole(SHARD))).toBe(true);
    expect((await second.progress()).downloadedBytes - downloadedBytes).toBe(missing);
    // What a reader keeps up with is written ten seconds later, or when downloads pause.
    await second.pause();
    await eventually(async () => {
      expect(await second.missingBytes([whole])).toBe(0);
      expect((await second.progress()).storedBytes).toBe(size);
    });
    expect(await second.stored()).toEqual([{ key: opened.key, label: opened.label, bytes: size }]);

    await second.evict([{ path: SHARD, start: 0, end: CHUNK_BYTES + 5 }]);
    expect(await second.stored()).toMatchObject([{ bytes: size - CHUNK_BYTES }]);
    await second.deleteStored(opened.key);
    expect(await second.stored()).toEqual([]);
  });

  it("serves another thread through a port", async () => {
    const worker = startWorker();
    const { port1, port2 } = new MessageChannel();
    await worker.connect(Comlink.transfer(port2, [port2]));
    const other = Comlink.wrap<SourceApi>(port1);
    await other.open(folder("large"), null);
    expect(JSON.parse(new TextDecoder().decode(await other.readFile("config.json", 10_000)))).toMatchObject({
      hidden_size: 1024,
    });
    expect(await worker.readRange({ path: SHARD, start: 8, end: 9 })).toEqual(new Uint8Array([0x7b]));
    await expect(other.readFile(SHARD, 10_000)).rejects.toMatchObject({ name: "MalformedModelError" });
  });

  it("reads dropped files in place and stores nothing", async () => {
    const worker = startWorker();
    const file = new File([new Uint8Array([1, 2, 3, 4])], "model.safetensors");
    const opened = await worker.open(
      { kind: "files", files: [{ path: "tiny/model.safetensors", file }] },
      null,
    );
    const range = { path: "model.safetensors", start: 1, end: 3 };
    await worker.prefetch([range]);
    expect(await worker.missingBytes([range])).toBe(0);
    expect(await worker.read(range)).toEqual(new Uint8Array([2, 3]));
    expect(opened.host).toBeNull();
    expect(await worker.stored()).toEqual([]);
  });
});

describe("CORS", () => {
  it("needs no preflight but for the Hub's token, which the CDN never sees", async () => {
    const hub = source();
    const opened = await hub.open({ kind: "address", address: "test/gated" }, token);
    expect(opened.revision).toMatch(/^[0-9a-f]{40}$/);
    const bytes = await hub.read({ path: "model.safetensors", start: 199_990, end: 200_000 });
    expect(bytes).toEqual(new Uint8Array(10).fill(7));
    await hub.open({ kind: "address", address: "test/gated" }, null);
    await expect(hub.readFile("config.json", 100)).rejects.toThrow(/is gated \(401\)/);
  });

  it("does without headers that the server hides", async () => {
    const hidden = source();
    const { files } = await hidden.open(folder("unexposed"), null);
    expect(files).toContainEqual({ path: "model.safetensors", bytes: 200_000 });
    expect(await hidden.read({ path: "model.safetensors", start: 5, end: 7 })).toEqual(
      new Uint8Array([7, 7]),
    );
  });

  it("opens folders of servers that answer 404 without CORS headers", async () => {
    const { files } = await source().open(folder("bare-errors"), null);
    expect(files.map(({ path }) => path).toSorted()).toEqual(["config.json", "model.safetensors"]);
  });

  it("says what may be wrong when the server has no CORS, and what is wrong when it has no ranges", async () => {
    await expect(source().open(folder("closed"), null)).rejects.toThrow(
      /cannot be reached from this page: it answers.*no CORS headers/,
    );
    await expect(source().open(folder("circle"), null)).rejects.toThrow(
      /redirects .*config\.json, but .* circle/,
    );
    await expect(source().open(folder("packed"), null)).rejects.toThrow(/compress byte ranges \(gzip\)/);
    await expect(source().open(folder("whole"), null)).rejects.toThrow(/ignores byte ranges/);
  });
});
