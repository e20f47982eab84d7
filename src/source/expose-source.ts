import { expose, transfer, type Endpoint } from "comlink";
import type { SourceApi } from "../api/source-api.ts";

/** Serves a source to another thread; bytes are handed over, not copied. */
export function exposeSource(source: SourceApi, endpoint?: Endpoint): void {
  const move = (bytes: Uint8Array<ArrayBuffer>) => transfer(bytes, [bytes.buffer]);
  const moving: SourceApi = {
    ...source,
    readFile: async (path, maxBytes) => move(await source.readFile(path, maxBytes)),
    readRange: async (range) => move(await source.readRange(range)),
    read: async (range, spare) => move(await source.read(range, spare)),
    take: async (range, spare) => move(await source.take(range, spare)),
  };
  expose(moving, endpoint);
}
