// SHA-256 of several files, each in a thread of its own: one thread hashes slower than a disk reads.

import { proxy } from "comlink";
// oxlint-disable-next-line import/default -- Vite makes the default export.
import hasherUrl from "../../../workers/hasher.ts?worker&url";
import { openingFailure } from "../../offload/storage-failure.ts";
import { BrokenThreadError, startThread, type Thread } from "../../start-thread.ts";
import { hashFile, type HasherApi } from "./hash-file.ts";

/** More threads than this wait for the disk. */
const MAX_THREADS = 8;
/** Less is hashed sooner than a thread starts. */
const THREAD_BYTES = 64 * 1024 ** 2;

export interface NamedFile {
  readonly path: string;
  readonly file: Blob;
}

/**
 * @param onBytes bytes hashed since the last call
 * @param threadBytes files of so many bytes go to a thread
 * @returns hexadecimal digits, in the order of the files
 * @throws StorageError if a file goes away meanwhile
 */
export async function hashFiles(
  files: readonly NamedFile[],
  onBytes: (bytes: number) => void,
  threadBytes = THREAD_BYTES,
): Promise<string[]> {
  const hashes = files.map(() => "");
  const largestFirst = [...files.entries()].toSorted(([, a], [, b]) => b.file.size - a.file.size);
  const lane = async (): Promise<void> => {
    using hasher = openHasher(threadBytes);
    for (let next = largestFirst.shift(); next; next = largestFirst.shift()) {
      const [index, { path, file }] = next;
      hashes[index] = await hasher.hash(file, onBytes).catch((cause: unknown) => {
        throw openingFailure(`The result file ${path}`, cause);
      });
    }
  };
  const large = files.filter(({ file }) => file.size >= threadBytes).length;
  await Promise.all(Array.from({ length: lanesFor(large) }, lane));
  return hashes;
}

function lanesFor(largeFiles: number): number {
  if (largeFiles < 2 || typeof Worker === "undefined") return 1;
  return Math.max(1, Math.min(largeFiles, navigator.hardwareConcurrency - 1, MAX_THREADS));
}

interface Hasher extends Disposable {
  hash(file: Blob, onBytes: (bytes: number) => void): Promise<string>;
}

/** Starts its thread with the first large file; where there are no threads, or this one breaks down, hashes here. */
function openHasher(threadBytes: number): Hasher {
  let thread: Thread<HasherApi> | null = null;
  return {
    async hash(file, onBytes) {
      if (file.size < threadBytes || typeof Worker === "undefined") return await hashFile(file, onBytes);
      thread ??= startThread<HasherApi>(hasherUrl, import.meta.url, "hasher");
      let hashed = 0;
      const count = (bytes: number) => {
        hashed += bytes;
        onBytes(bytes);
      };
      try {
        return await Promise.race([thread.api.hash(file, proxy(count)), thread.broken]);
      } catch (error) {
        if (!(error instanceof BrokenThreadError)) throw error;
        onBytes(-hashed);
        return await hashFile(file, onBytes);
      }
    },
    [Symbol.dispose]() {
      thread?.worker.terminate();
    },
  };
}
