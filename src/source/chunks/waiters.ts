// Reads that wait for a chunk to come: one promise a chunk, however many ask.

import { invariant } from "../../errors.ts";

interface Waiter {
  readonly promise: Promise<Uint8Array<ArrayBuffer>>;
  readonly resolve: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly reject: (reason: unknown) => void;
}

export interface Waiters {
  has(id: string): boolean;
  /** The bytes, once somebody brings them. */
  wait(id: string): Promise<Uint8Array<ArrayBuffer>>;
  resolve(id: string, bytes: Uint8Array<ArrayBuffer>): void;
  reject(id: string, reason: unknown): void;
  rejectAll(reason: unknown): void;
}

export function createWaiters(): Waiters {
  const waiters = new Map<string, Waiter>();
  const take = (id: string) => {
    const waiter = waiters.get(id);
    waiters.delete(id);
    return waiter;
  };
  return {
    has: (id) => waiters.has(id),
    async wait(id) {
      const waiter = waiters.get(id) ?? createWaiter();
      waiters.set(id, waiter);
      return await waiter.promise;
    },
    resolve: (id, bytes) => take(id)?.resolve(bytes),
    reject: (id, reason) => take(id)?.reject(reason),
    rejectAll(reason) {
      for (const id of waiters.keys()) take(id)?.reject(reason);
    },
  };
}

function createWaiter(): Waiter {
  let settle: Omit<Waiter, "promise"> | undefined;
  const promise = new Promise<Uint8Array<ArrayBuffer>>((resolve, reject) => {
    settle = { resolve, reject };
  });
  invariant(settle, "a promise runs its executor at once");
  return { promise, ...settle };
}
