// What may be written while other things go on: a little at a time, since writing holds up the thread that gives the GPU its work.

import { waitLater } from "../../../wait-later.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** New blocks of a file take some milliseconds a megabyte. */
const SLICE_BYTES = 2 * 1024 ** 2;
const PAUSE_MS = 4;

export interface LaterWrites extends Disposable {
  /** Writes bytes, slice by slice, behind those that were given before. */
  add(bytes: Bytes, write: (offset: number, slice: Bytes) => void): void;
  /** Calls `done` when all that was given so far is written, or never will be. */
  behind(done: () => void): void;
  /** Resolves when all is written; without pauses from now on. */
  written(): Promise<void>;
}

/** Nothing is written any more once it is disposed of. */
export function createLaterWrites(): LaterWrites {
  let last = Promise.resolve();
  let hurries = false;
  let stopped = false;
  const writeSlices = async (bytes: Bytes, write: (offset: number, slice: Bytes) => void) => {
    for (let offset = 0; offset < bytes.byteLength; offset += SLICE_BYTES) {
      if (!hurries) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      if (stopped) return;
      write(offset, bytes.subarray(offset, offset + SLICE_BYTES));
    }
  };
  return {
    add(bytes, write) {
      last = waitLater(last.then(async () => await writeSlices(bytes, write)));
    },
    behind(done) {
      last = waitLater(last.finally(done));
    },
    async written() {
      hurries = true;
      await last;
    },
    [Symbol.dispose]() {
      stopped = true;
    },
  };
}
