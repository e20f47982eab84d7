// A model on a server, and what this browser has of it.

import type { OpenedSource } from "../../api/source-api.ts";
import type { RemoteFile } from "../http/fetch-range.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { type Chunk, chunkAt } from "./chunks.ts";

export interface RemoteModel {
  readonly opened: OpenedSource;
  readonly files: ReadonlyMap<string, RemoteFile>;
}

/** The chunks of the model that are stored; those of files that it no longer has are left out. */
export async function storedChunks(
  store: ChunkStore,
  { opened, files }: RemoteModel,
  chunkBytes: number,
): Promise<Chunk[]> {
  const names = await store.list(opened.key);
  return names.flatMap(({ path, index }) => {
    const file = files.get(path);
    return file ? [chunkAt(path, index, file.bytes, chunkBytes)] : [];
  });
}
