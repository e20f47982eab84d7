// Rotations in threads of their own, as many as the processor runs beside each other: the compressor's thread has a GPU to feed
// meanwhile. Which thread rotates a span changes nothing of its bytes.

// oxlint-disable-next-line import/default -- Vite makes the default export.
import rotatorUrl from "../../../workers/rotator.ts?worker&url";
import { createSpanRotator, type RotatorApi, type Span } from "../../plan/rotation/rotate-span.ts";
import { startThread, type Thread } from "../../start-thread.ts";

export type RotateSpan = (span: Span) => Promise<Uint8Array<ArrayBuffer>>;

/** More threads than this wait for the memory. */
const MAX_THREADS = 8;
/** Threads without work end after this time. */
const IDLE_MS = 5000;

interface Rotator extends Thread<RotatorApi> {
  /** Spans that it has been given and has not given back. */
  waiting: number;
}

/** Rotates spans, each in the thread that has the least to do; where there are no threads, or one breaks down, here. */
export function createRotators(idleMs = IDLE_MS): RotateSpan {
  const here = createSpanRotator();
  if (typeof Worker === "undefined") return async (span) => await Promise.resolve(here(span));
  const rotators: Rotator[] = [];
  let idle: ReturnType<typeof setTimeout> | undefined;
  const endAll = () => {
    for (const { worker } of rotators.splice(0)) worker.terminate();
  };
  return async (span) => {
    clearTimeout(idle);
    const rotator = nextRotator(rotators);
    rotator.waiting += 1;
    try {
      return await Promise.race([rotator.api.rotate(span), rotator.broken]);
    } catch {
      return here(span);
    } finally {
      rotator.waiting -= 1;
      clearTimeout(idle);
      if (rotators.every(({ waiting }) => waiting === 0)) idle = setTimeout(endAll, idleMs);
    }
  };
}

/** A thread without work, a new one if there may be more, or the one with the least. */
function nextRotator(rotators: Rotator[]): Rotator {
  const most = Math.max(1, Math.min(navigator.hardwareConcurrency - 1, MAX_THREADS));
  const [least] = rotators.toSorted((a, b) => a.waiting - b.waiting);
  if (least && (least.waiting === 0 || rotators.length >= most)) return least;
  const started = { ...startThread<RotatorApi>(rotatorUrl, import.meta.url, "rotator"), waiting: 0 };
  rotators.push(started);
  return started;
}
