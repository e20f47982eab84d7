// A model of two files on a server, and loaders of its chunks, which are small.

import { afterEach, beforeEach } from "vitest";
import { type ModelServer, startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { ChunkLoader } from "../../source/chunks/chunk-loader.ts";
import type { LoaderLimits } from "../../source/chunks/loader-limits.ts";
import { openFolder } from "../../source/folders/open-folder.ts";
import { testTransport } from "./fast-retry.ts";
import { memoryChunkStore } from "../stand-ins/memory-chunk-store.ts";

export const CHUNK = 1000;
export const A = "model-1.safetensors";
export const B = "model-2.safetensors";
const bytesOf = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + seed + (index >> 8)) & 255);
export const contents = { [A]: bytesOf(20_500, 1), [B]: bytesOf(8000, 2) };
export const limits: LoaderLimits = {
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

export const range = (path: string, start: number, end: number) => ({ path, start, end });
export const wholeFile = (path: typeof A | typeof B) => range(path, 0, contents[path].byteLength);

/** A server for each of the file's tests: what an ended test's requests still do must not stand in the log of the next. */
export function serveChunks() {
  const loaders: ChunkLoader[] = [];
  let server: ModelServer;
  beforeEach(async () => {
    const index = JSON.stringify({ weight_map: { a: A, b: B } });
    const files = memoryModel({ "config.json": "{}", "model.safetensors.index.json": index, ...contents });
    server = await startModelServer({ models: { "my/model": { files } } });
  });
  afterEach(async () => {
    for (const loader of loaders.splice(0)) loader[Symbol.dispose]();
    await server.close();
  });
  return {
    get server() {
      return server;
    },
    /** File and range of each request since the last loader was opened. */
    requests: () => server.log.map(({ path, range: bytes }) => [path.split("/").at(-1), bytes]),
    open: async (store = memoryChunkStore(), changes: Partial<LoaderLimits> = {}) => {
      const transport = testTransport();
      const url = `${server.filesUrl}/my/model/`;
      const folder = await openFolder(transport, { url, file: null }, new AbortController().signal);
      if (folder.kind !== "remote") throw new Error("a folder of a server is remote");
      server.log.length = 0;
      const loader = await ChunkLoader.open(transport, store, folder, { ...limits, ...changes });
      loaders.push(loader);
      return { loader, store };
    },
  };
}
