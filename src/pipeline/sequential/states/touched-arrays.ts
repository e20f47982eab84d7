// Arrays of new memory, touched in threads of their own: the system finds and clears each page when it is first written to, which takes
// several times as long as what is then put there. Gigabytes of hidden states would hold the compressor's thread for ten seconds.

// oxlint-disable-next-line import/default -- Vite makes the default export.
import toucherUrl from "../../../../workers/toucher.ts?worker&url";
import { createThreadPool, type ThreadPool } from "../../../thread-pool.ts";
import type { ToucherApi } from "./touch-memory.ts";
import { waitLater } from "../../../wait-later.ts";

/** Less is touched sooner than threads start. */
const THREADS_BYTES = 256 * 1024 ** 2;
/** The compressor has something to do meanwhile, and so have those that fetch. */
const THREAD_CORES = 4;
const MOST_THREADS = 4;

const TOUCHER = { url: toucherUrl, base: import.meta.url, name: "toucher" };

export interface TouchedArrays extends Disposable {
  /** The next of them: zeros, all of it touched where threads do that. */
  next(): Promise<Float32Array<ArrayBuffer>>;
}

/**
 * Arrays of these lengths, in this order; threads are one ahead each of what is asked for.
 * @param most threads; without any, and where one breaks down, memory comes as it is
 */
export function touchArrays(
  lengths: readonly number[],
  most = threadsFor(lengths),
  threads: ThreadPool<ToucherApi> = createThreadPool(TOUCHER, { most }),
): TouchedArrays {
  const coming: Promise<ArrayBuffer>[] = [];
  const left = lengths.map((length) => length * Float32Array.BYTES_PER_ELEMENT);
  const ask = () => {
    const bytes = left.shift();
    if (bytes === undefined) return;
    const buffer = threads.ask(
      async (api) => await api.touch(bytes),
      () => new ArrayBuffer(bytes),
    );
    coming.push(waitLater(buffer));
  };
  for (let ahead = 0; ahead < most; ahead++) ask();
  return {
    async next() {
      ask();
      return new Float32Array((await coming.shift()) ?? new ArrayBuffer(0));
    },
    [Symbol.dispose]() {
      threads[Symbol.dispose]();
    },
  };
}

function threadsFor(lengths: readonly number[]): number {
  const bytes = lengths.reduce((sum, length) => sum + length * Float32Array.BYTES_PER_ELEMENT, 0);
  if (bytes < THREADS_BYTES || typeof Worker === "undefined") return 0;
  return Math.min(Math.floor(navigator.hardwareConcurrency / THREAD_CORES), MOST_THREADS);
}
