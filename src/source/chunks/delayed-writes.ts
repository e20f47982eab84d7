// Chunks that wait a moment before they are written: a fast network and a fast GPU are done with many of them by then, and
// what was not written need not be deleted either. On an H200 with a network of 1.3 GB/s, IndexedDB bounded a data-free job.
//
// When more waits than memory may hold, chunks come faster than IndexedDB takes them. Those that were used are then given
// up: should the job break before their layer is finished, fetching them again costs less than storing all of them.

import { type Chunk, chunkId } from "./chunks.ts";

interface WaitingChunk {
  readonly chunk: Chunk;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly due: number;
  used: boolean;
}

export interface DelayedWrites extends Disposable {
  add(chunk: Chunk, bytes: Uint8Array<ArrayBuffer>): void;
  /** The chunk was used: it is still written in its time, but given up before any other is written early. */
  use(chunk: Chunk): void;
  /** Drops a chunk that is done with; false if it did not wait. */
  cancel(chunk: Chunk): boolean;
  /** Writes all that waits. */
  flush(): void;
  /** Of chunks that wait. */
  readonly bytes: number;
}

/**
 * @param delayMs how long a chunk waits
 * @param limitBytes of all that wait; beyond it what was used is given up, then the oldest is written at once
 */
export function createDelayedWrites(
  { delayMs, limitBytes }: { readonly delayMs: number; readonly limitBytes: number },
  write: (chunk: Chunk, bytes: Uint8Array<ArrayBuffer>) => void,
  giveUp: (chunk: Chunk) => void,
): DelayedWrites {
  const waiting = new Map<string, WaitingChunk>();
  let timer: ReturnType<typeof setTimeout> | null = null;
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
      waiting.set(chunkId(chunk), { chunk, bytes, due: performance.now() + delayMs, used: false });
      for (const used of usedBeyond(waiting, limitBytes)) {
        waiting.delete(chunkId(used));
        giveUp(used);
      }
      writeWhile(() => sumBytes(waiting) > limitBytes);
      schedule();
    },
    use(chunk) {
      const entry = waiting.get(chunkId(chunk));
      if (entry) entry.used = true;
    },
    cancel: (chunk) => waiting.delete(chunkId(chunk)),
    flush: () => writeWhile(() => true),
    get bytes() {
      return sumBytes(waiting);
    },
    [Symbol.dispose]() {
      if (timer !== null) clearTimeout(timer);
      waiting.clear();
    },
  };
}

/** The chunks that were used, oldest first, as many as are needed to come down to the limit. */
function usedBeyond(waiting: ReadonlyMap<string, WaitingChunk>, limitBytes: number): Chunk[] {
  let excess = sumBytes(waiting) - limitBytes;
  const chunks: Chunk[] = [];
  for (const { chunk, bytes, used } of waiting.values()) {
    if (excess <= 0) break;
    if (!used) continue;
    chunks.push(chunk);
    excess -= bytes.byteLength;
  }
  return chunks;
}

function sumBytes(waiting: ReadonlyMap<string, WaitingChunk>): number {
  return [...waiting.values()].reduce((total, { bytes }) => total + bytes.byteLength, 0);
}
