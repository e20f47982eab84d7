// Threads of one kind, as many as the processor runs beside each other: whoever asks them goes on meanwhile. Which of them answers
// changes nothing of the answer.

import type { Remote } from "comlink";
import { startThread, type Thread } from "./start-thread.ts";

/** More threads than this wait for the memory. */
const MAX_THREADS = 8;
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

export interface ThreadPool<Api> extends Disposable {
  readonly ask: AskThread<Api>;
}

export interface PoolOptions<Api> {
  /** Threads without work end after this time. */
  readonly idleMs?: number | undefined;
  /** With none, whoever asks does all. */
  readonly most?: number;
  readonly start?: (script: ThreadScript) => Thread<Api>;
}

interface PooledThread<Api> extends Thread<Api> {
  /** What it was asked and has not answered. */
  waiting: number;
}

/** A pool whose threads start when they are wanted. Disposing it ends them: what they were asked stays without an answer. */
export function createThreadPool<Api>(
  script: ThreadScript,
  { idleMs = IDLE_MS, most = threadsOfMachine(), start = startScript }: PoolOptions<Api> = {},
): ThreadPool<Api> {
  const threads: PooledThread<Api>[] = [];
  let idle: ReturnType<typeof setTimeout> | undefined;
  const endAll = () => {
    clearTimeout(idle);
    for (const { worker } of threads.splice(0)) worker.terminate();
  };
  const next = () => {
    const [least] = threads.toSorted((a, b) => a.waiting - b.waiting);
    if (least && (least.waiting === 0 || threads.length >= most)) return least;
    const started = { ...start(script), waiting: 0 };
    threads.push(started);
    return started;
  };
  const ask: AskThread<Api> = async (asked, here) => {
    if (most === 0) return here();
    clearTimeout(idle);
    const thread = next();
    thread.waiting += 1;
    try {
      return await Promise.race([asked(thread.api), thread.broken]);
    } catch {
      return here();
    } finally {
      thread.waiting -= 1;
      clearTimeout(idle);
      if (threads.every(({ waiting }) => waiting === 0)) idle = setTimeout(endAll, idleMs);
    }
  };
  return { ask, [Symbol.dispose]: endAll };
}

function threadsOfMachine(): number {
  if (typeof Worker === "undefined") return 0;
  return Math.max(1, Math.min(navigator.hardwareConcurrency - 1, MAX_THREADS));
}

function startScript<Api>({ url, base, name }: ThreadScript): Thread<Api> {
  return startThread<Api>(url, base, name);
}
