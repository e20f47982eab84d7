// Downloaded chunks in IndexedDB: a reload goes on where it stopped. One record a chunk, keyed [source key, file, index], and one
// record [source key] that says whose chunks they are.

import { createStore, get, promisifyRequest, setMany, type UseStore } from "idb-keyval";
import { StorageError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { type Chunk, chunkAt } from "./chunks.ts";
import { type Answered, waitForStore } from "../../storage-answer.ts";
import type { OpenedSource, StoredSource } from "../../api/source-api.ts";

export type ChunkName = Pick<Chunk, "path" | "index">;

export interface ChunkStore {
  /** The chunks of a source that are stored. */
  list(key: string): Promise<ChunkName[]>;
  /** A chunk's bytes; undefined if it is not there, or cannot be read. */
  get(key: string, chunk: Chunk): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Stores a copy. @throws StorageError if the disk or the quota is full, or the browser fails to write. */
  put(source: OpenedSource, chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  delete(key: string, chunks: readonly ChunkName[]): Promise<void>;
  /** Deletes all chunks of one source, or, with null, of all. */
  deleteSource(key: string | null): Promise<void>;
  sources(): Promise<StoredSource[]>;
}

/** What is stored once for each source. Sizes of chunks follow from the sizes of files. */
interface Manifest {
  readonly label: string;
  readonly files: OpenedSource["files"];
}

/** Opens the store; names are prefixed because an origin may be shared with other sites. */
export function openChunkStore(name = "layerpress-source"): ChunkStore {
  const plain = createStore(name, "chunks");
  const answered = waitForStore("The browser’s store for downloads (IndexedDB)");
  const store = inWords(plain, answered);
  return {
    async list(key) {
      const keys = await allKeys(store, chunkRange(key));
      return keys.map(([, path, index]) => ({ path, index }));
    },
    async get(key, chunk) {
      // An ArrayBuffer, not a Blob: Chromium has lost Blobs for good (jakearchibald/idb-keyval#76).
      const reading = get<ArrayBuffer>([key, chunk.path, chunk.index], plain).catch(() => undefined);
      const bytes = await answered(reading);
      return bytes?.byteLength === chunk.end - chunk.start ? new Uint8Array(bytes) : undefined;
    },
    async put(source, chunk, bytes) {
      const manifest: Manifest = { label: source.label, files: source.files };
      try {
        const records: [IDBValidKey, unknown][] = [
          [[source.key], manifest],
          [[source.key, chunk.path, chunk.index], bytes.buffer],
        ];
        await answered(setMany(records, plain));
      } catch (cause) {
        throw cause instanceof StorageError ? cause : storageError(chunk, cause);
      }
    },
    async delete(key, chunks) {
      await store("readwrite", async (objects) => {
        for (const { path, index } of chunks) objects.delete([key, path, index]);
        await promisifyRequest(objects.transaction);
      });
    },
    async deleteSource(key) {
      await store("readwrite", async (objects) => {
        if (key === null) objects.clear();
        else objects.delete(IDBKeyRange.bound([key], [key, []]));
        await promisifyRequest(objects.transaction);
      });
    },
    sources: async () => await storedSources(store),
  };
}

/** A store whose failures are sentences: browsers give the same few for a full disk and for sites that may keep nothing. */
function inWords(store: UseStore, answered: Answered): UseStore {
  return async (mode, callback) => {
    try {
      return await answered(Promise.resolve(store(mode, callback)));
    } catch (cause) {
      if (cause instanceof StorageError) throw cause;
      throw new StorageError(
        `The browser's store for downloads (IndexedDB) does not open: ${cause instanceof Error ? cause.message.replace(/\.$/, "") : String(cause)}. The disk may be full: free space. Or this site may store nothing: leave the private window, or allow it to store data. Then go on.`,
        { cause },
      );
    }
  };
}

type StoredKey = [key: string, path: string, index: number];

/** All keys [key, path, index]; arrays sort after strings, so [key, []] lies behind them all. */
function chunkRange(key: string): IDBKeyRange {
  return IDBKeyRange.bound([key, ""], [key, []]);
}

async function allKeys(store: UseStore, range: IDBKeyRange | null): Promise<StoredKey[]> {
  const keys = await store("readonly", async (objects) => await promisifyRequest(objects.getAllKeys(range)));
  return keys as StoredKey[];
}

async function storedSources(store: UseStore): Promise<StoredSource[]> {
  const chunks = Map.groupBy(
    (await allKeys(store, null)).filter((key) => key.length === 3),
    ([key]) => key,
  );
  const sources = [...chunks].map(async ([key, names]) => {
    const manifest = await get<Manifest>([key], store);
    const sizes = new Map(manifest?.files.map(({ path, bytes }) => [path, bytes]));
    const bytes = names.reduce((sum, [, path, index]) => {
      const { start, end } = chunkAt(path, index, sizes.get(path) ?? 0);
      return sum + Math.max(end - start, 0);
    }, 0);
    return { key, label: manifest?.label ?? key, bytes };
  });
  return await Promise.all(sources);
}

function storageError(chunk: Chunk, cause: unknown): StorageError {
  const what = `${formatBytes(chunk.end - chunk.start)} of ${chunk.path}`;
  const name = cause instanceof Error ? cause.name : "";
  return new StorageError(
    name === "QuotaExceededError"
      ? `The browser's storage is full: ${what} could not be stored. What is stored is kept. Delete stored models or free disk space, then go on.`
      : `The browser could not store ${what} (${name || String(cause)}). What is stored is kept. If it happens again, delete the stored models and restart the browser.`,
    { cause },
  );
}
