// Threads of one kind, as many as the processor runs beside each other: whoever asks them goes on meanwhile. Which of them answers
// changes nothing of the answer.

import type { Remote } from "comlink";
import { startThread, type Thread } from "./start-thread.ts";

/** More threads than this wait for the memory. */
const MAX_THREADS = 8;
/** Threads without work end after this time. */
const IDLE_MS = 5000;

/** What a thread runs. */
export interface ThreadScript {
  readonly url: string;
  /** What an address that is not absolute is relative to. */
  readonly base: string;
  readonly name: string;
}

/**
 * Asks the thread that has the least to do.
 * @param here gives the same answer where there are no threads, or one breaks down
 */
export type AskThread<Api> = <Answer>(
  ask: (api: Remote<Api>) => Promise<Answer>,
  here: () => Answer,
) => Promise<Answer>;

interface PooledThread<Api> extends Thread<Api> {
  /** What it was asked and has not answered. */
  waiting: number;
}

/** A pool whose threads start when they are wanted. */
export function createThreadPool<Api>(script: ThreadScript, idleMs = IDLE_MS): AskThread<Api> {
  if (typeof Worker === "undefined") return async (_, here) => await Promise.resolve(here());
  const threads: PooledThread<Api>[] = [];
  let idle: ReturnType<typeof setTimeout> | undefined;
  const endAll = () => {
    for (const { worker } of threads.splice(0)) worker.terminate();
  };
  return async (ask, here) => {
    clearTimeout(idle);
    const thread = nextThread(threads, script);
    thread.waiting += 1;
    try {
      return await Promise.race([ask(thread.api), thread.broken]);
    } catch {
      return here();
    } finally {
      thread.waiting -= 1;
      clearTimeout(idle);
      if (threads.every(({ waiting }) => waiting === 0)) idle = setTimeout(endAll, idleMs);
    }
  };
}

/** A thread without work, a new one if there may be more, or the one with the least. */
function nextThread<Api>(threads: PooledThread<Api>[], { url, base, name }: ThreadScript): PooledThread<Api> {
  const most = Math.max(1, Math.min(navigator.hardwareConcurrency - 1, MAX_THREADS));
  const [least] = threads.toSorted((a, b) => a.waiting - b.waiting);
  if (least && (least.waiting === 0 || threads.length >= most)) return least;
  const started = { ...startThread<Api>(url, base, name), waiting: 0 };
  threads.push(started);
  return started;
}
