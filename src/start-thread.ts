// Threads that calculate beside the one that asks them; it can do the same itself where one breaks down.

import { type Remote, wrap } from "comlink";
import { startWorker } from "./start-worker.ts";

export interface Thread<Api> {
  readonly worker: Worker;
  readonly api: Remote<Api>;
  /** Rejects with a BrokenThreadError if the thread does not start or breaks down, which would never answer. */
  readonly broken: Promise<never>;
}

export class BrokenThreadError extends Error {}

/** @param base what an address that is not absolute is relative to */
export function startThread<Api>(scriptUrl: string, base: string, name: string): Thread<Api> {
  const worker = startWorker(scriptUrl, base, name);
  const { promise: broken, reject } = Promise.withResolvers<never>();
  worker.addEventListener("error", () => reject(new BrokenThreadError(`The thread ${name} broke down.`)));
  // Whoever asks it something races with this.
  broken.catch(() => undefined);
  return { worker, api: wrap<Api>(worker), broken };
}
