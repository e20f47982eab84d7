// Answers of the browser's stores, of which some never come: its storage process may have ended, or the disk below it.

import { StorageError } from "./errors.ts";

/** Writing 100 MB on a slow card, or opening a store that was left in the middle, takes tens of seconds. Tests shorten it. */
export const storagePatience = { milliseconds: 120_000 };

export type Answered = <T>(work: Promise<T>) => Promise<T>;

/**
 * What waits for a store. Many calls may queue: only a time in which none of them is answered counts.
 * @param name of the store, for the sentence
 * @returns a function that gives a call's outcome; it rejects with a StorageError when the store has not answered for too long
 */
export function waitForStore(name: string): Answered {
  let answeredAt = Number.NEGATIVE_INFINITY;
  return async (work) => {
    const began = performance.now();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const look = () => {
        const rest = Math.max(began, answeredAt) + storagePatience.milliseconds - performance.now();
        if (rest > 0) timer = setTimeout(look, rest);
        else reject(silent(name));
      };
      look();
    });
    const answered = work.finally(() => (answeredAt = performance.now()));
    try {
      return await Promise.race([answered, late]);
    } finally {
      clearTimeout(timer);
    }
  };
}

function silent(name: string): StorageError {
  const seconds = Math.ceil(storagePatience.milliseconds / 1000);
  return new StorageError(
    `${name} has not answered for ${seconds} s. Its process may have ended, or the disk be failing or gone: look at the disk, restart the browser, then go on; what is finished is kept.`,
  );
}

/** The browser's file store (OPFS). */
export const fileStore: Answered = waitForStore("The browser’s file store (OPFS)");

/** What a folder lists, each awaited like any other answer. */
export async function* listed<T>(list: AsyncIterableIterator<T>): AsyncGenerator<T> {
  for (let next = await fileStore(list.next()); !next.done; next = await fileStore(list.next()))
    yield next.value;
}
