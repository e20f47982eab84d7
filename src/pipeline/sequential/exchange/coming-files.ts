// Files of other jobs that come while this one is at work, and are kept until they are asked for.

import { invariant } from "../../../errors.ts";
import { createWaitingBytes } from "./waiting-bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Files that come at a time. A browser has six connections to a server, and others have to give, too. */
const LANES = 2;

/** A file that is there. */
export interface ComeFile {
  readonly bytes: Bytes;
  /** Told when it is done with: another one may come. */
  readonly done: () => void;
}

export interface ComingFiles {
  /** Begins to take them, unless that has begun. */
  begin(): void;
  get(place: number): Promise<ComeFile>;
  /** No more are taken; who waits for one is told that there will be none. */
  stop(): void;
}

/**
 * Takes files in order, a few at a time, once it begins, and keeps them until they are asked for, in the same order.
 * @param most bytes that are kept before no more are taken
 */
export function openComing<Item>(
  items: readonly Item[],
  most: number,
  take: (item: Item) => Promise<Bytes>,
): ComingFiles {
  const files = new Map(items.map((_, place) => [place, Promise.withResolvers<Bytes>()]));
  for (const { promise } of files.values()) promise.catch(() => undefined);
  const places = items.keys();
  const waiting = createWaitingBytes(most);
  let begun = false;
  let stopped = false;
  const run = async () => {
    for (;;) {
      // A place is taken when there is room for it, so that no file is waited for behind later ones.
      await waiting.room();
      const { value: place = -1 } = places.next();
      const [item, file] = [items[place], files.get(place)];
      if (stopped || item === undefined) return;
      await take(item).then((bytes) => {
        waiting.add(bytes.byteLength);
        file?.resolve(bytes);
      }, file?.reject);
    }
  };
  return {
    begin() {
      if (begun) return;
      begun = true;
      for (let lane = 0; lane < LANES; lane++) void run();
    },
    async get(place) {
      const file = files.get(place);
      invariant(file, "a file for each module");
      const bytes = await file.promise;
      files.delete(place);
      return { bytes, done: () => waiting.remove(bytes.byteLength) };
    },
    stop() {
      stopped = true;
      const none = new DOMException("Another part of the job failed.", "AbortError");
      for (const { reject } of files.values()) reject(none);
    },
  };
}
