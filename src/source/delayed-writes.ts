// Chunks that wait a moment before they are written: a fast network and a fast GPU are done with many of them by then, and
// what was not written need not be deleted either. On an H200 with a network of 1.3 GB/s, IndexedDB bounded a data-free job.

import { type Chunk, chunkId } from "./chunks.ts";

export interface DelayedWrites extends Disposable {
  add(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): void;
  /** Drops a chunk that is done with. */
  cancel(chunk: Chunk): void;
  /** Writes all that waits. */
  flush(): void;
  /** Of chunks that wait. */
  readonly bytes: number;
}

/**
 * @param delayMs how long a chunk waits
 * @param limitBytes of all that wait; beyond it the oldest is written at once
 */
export function createDelayedWrites(
  { delayMs, limitBytes }: { readonly delayMs: number; readonly limitBytes: number },
  write: (chunk: Chunk, bytes: Uint8Array<ArrayBuffer>) => void,
): DelayedWrites {
  const waiting = new Map<string, { chunk: Chunk; bytes: Uint8Array<ArrayBuffer>; due: number }>();
  let timer: ReturnType<typeof setTimeout> | null = null;
  const sum = () => [...waiting.values()].reduce((total, { bytes }) => total + bytes.byteLength, 0);
  const writeWhile = (isDue: (due: number) => boolean) => {
    for (const [id, { chunk, bytes, due }] of waiting) {
      if (!isDue(due)) break;
      waiting.delete(id);
      write(chunk, bytes);
    }
  };
  const schedule = () => {
    const [oldest] = waiting.values();
    if (timer !== null || !oldest) return;
    timer = setTimeout(() => {
      timer = null;
      writeWhile((due) => due <= performance.now());
      schedule();
    }, oldest.due - performance.now());
  };
  return {
    add(chunk, bytes) {
      waiting.set(chunkId(chunk), { chunk, bytes, due: performance.now() + delayMs });
      writeWhile(() => sum() > limitBytes);
      schedule();
    },
    cancel(chunk) {
      waiting.delete(chunkId(chunk));
    },
    flush() {
      writeWhile(() => true);
    },
    get bytes() {
      return sum();
    },
    [Symbol.dispose]() {
      if (timer !== null) clearTimeout(timer);
      waiting.clear();
    },
  };
}
