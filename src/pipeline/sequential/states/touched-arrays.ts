// Arrays of new memory, touched in threads of their own: the system finds and clears each page when it is first written to, which takes
// several times as long as what is then put there. Gigabytes of hidden states would hold the compressor's thread for ten seconds.

// oxlint-disable-next-line import/default -- Vite makes the default export.
import toucherUrl from "../../../../workers/toucher.ts?worker&url";
import { startThread, type Thread } from "../../../start-thread.ts";
import type { ToucherApi } from "./touch-memory.ts";
import { waitLater } from "../../../wait-later.ts";

/** Less is touched sooner than threads start. */
const THREADS_BYTES = 256 * 1024 ** 2;
/** The compressor has something to do meanwhile, and so have those that fetch. */
const THREAD_CORES = 4;
const MOST_THREADS = 4;

type ToucherThread = Pick<Thread<ToucherApi>, "api" | "broken"> & Disposable;

export interface TouchedArrays extends Disposable {
  /** The next of them: zeros, all of it touched where threads do that. */
  next(): Promise<Float32Array<ArrayBuffer>>;
}

/**
 * Arrays of these lengths, in this order; threads are one ahead each of what is asked for.
 * @param begin starts a thread
 * @param most threads; without any, and where one breaks down, memory comes as it is
 */
export function touchArrays(
  lengths: readonly number[],
  begin: () => ToucherThread = beginThread,
  most = threadsFor(lengths),
): TouchedArrays {
  const threads = Array.from({ length: Math.min(most, lengths.length) }, begin);
  const coming: Promise<ArrayBuffer>[] = [];
  const left = lengths.map((length) => length * Float32Array.BYTES_PER_ELEMENT);
  let asked = 0;
  const ask = () => {
    const bytes = left.shift();
    if (bytes === undefined) return;
    const thread = threads[asked++ % Math.max(threads.length, 1)];
    coming.push(waitLater(bufferOf(bytes, thread)));
  };
  for (let ahead = 0; ahead < threads.length; ahead++) ask();
  return {
    async next() {
      ask();
      return new Float32Array((await coming.shift()) ?? new ArrayBuffer(0));
    },
    [Symbol.dispose]() {
      for (const thread of threads) thread[Symbol.dispose]();
    },
  };
}

async function bufferOf(bytes: number, thread: ToucherThread | undefined): Promise<ArrayBuffer> {
  if (!thread) return new ArrayBuffer(bytes);
  const touched = Promise.race([thread.api.touch(bytes), thread.broken]);
  return await touched.catch(() => new ArrayBuffer(bytes));
}

function threadsFor(lengths: readonly number[]): number {
  const bytes = lengths.reduce((sum, length) => sum + length * Float32Array.BYTES_PER_ELEMENT, 0);
  if (bytes < THREADS_BYTES || typeof Worker === "undefined") return 0;
  return Math.min(Math.floor(navigator.hardwareConcurrency / THREAD_CORES), MOST_THREADS);
}

function beginThread(): ToucherThread {
  const { worker, api, broken } = startThread<ToucherApi>(toucherUrl, import.meta.url, "toucher");
  return { api, broken, [Symbol.dispose]: () => worker.terminate() };
}
