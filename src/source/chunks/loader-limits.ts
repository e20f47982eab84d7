// Bounds of the download scheduler.

import { CHUNK_BYTES } from "./chunks.ts";

export interface LoaderLimits {
  readonly chunkBytes: number;
  /** Requests at a time; a read that nobody announced may add one. HTTP/1.1 servers allow six, and small files come beside. */
  readonly requests: number;
  /** Chunks of one request: few requests, because the Hub counts them (3,000 in five minutes, 0.8 GB/s of these). */
  readonly requestChunks: number;
  /** Chunks in memory. */
  readonly hotBytes: number;
  /**
   * Unread ones and those that running requests will bring, beyond which a reader that keeps up is not run away from. A request may
   * then still add its chunks: all that are allowed at a time have to fit.
   */
  readonly aheadBytes: number;
  /**
   * Of chunks that are done with, whose memory waits a while for others: as much as a finished layer leaves at once. No more is held for
   * it than chunks took before, since what comes is put there first.
   */
  readonly spareBytes: number;
  /** On their way to IndexedDB: above this, downloads wait. */
  readonly unwrittenBytes: number;
  /**
   * While a reader keeps up, chunks wait so long before they are written, and at most so many bytes of them. What is fetched ahead
   * has to pass in less, or all of it goes through IndexedDB, which then makes the reader so slow that it stays so.
   */
  readonly delayMs: number;
  readonly delayedBytes: number;
  /** A reader that has read within so many milliseconds keeps up: it is not run away from. */
  readonly readerMs: number;
}

export const LOADER_LIMITS: LoaderLimits = {
  chunkBytes: CHUNK_BYTES,
  requests: 3,
  requestChunks: 5,
  hotBytes: 512 * 1024 ** 2,
  aheadBytes: 304 * 1024 ** 2,
  spareBytes: 448 * 1024 ** 2,
  unwrittenBytes: 96 * 1024 ** 2,
  delayMs: 10_000,
  delayedBytes: 448 * 1024 ** 2,
  readerMs: 2000,
};

/** Each request has a thread that copies what the browser receives; fewer cores than four for each are busy with the rest. */
const REQUEST_CORES = 4;
const MOST_REQUESTS = 4;

/** As many requests at a time as the processor has cores for. */
export function limitsFor(cores: number): LoaderLimits {
  const requests = Math.min(
    Math.max(Math.floor(cores / REQUEST_CORES), LOADER_LIMITS.requests),
    MOST_REQUESTS,
  );
  return { ...LOADER_LIMITS, requests };
}
