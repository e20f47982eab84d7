// The page's end of a window to the command beside its browser: a file in OPFS, in slots that are lent for one file each.

import { invariant } from "../errors.ts";
import {
  type ExchangeWindow,
  SLOT_BYTES,
  SLOTS,
  WINDOW_BYTES,
  type WindowSlot,
} from "../formats/files/exchange-window.ts";
import { Pool } from "../gpu/staging/pool.ts";
import { openForWriting } from "./open-for-writing.ts";
import { openingFailure, storageFailure } from "./storage-failure.ts";
import { writeWhole } from "./write-whole.ts";

/** Begins as files do that are removed when a job is done. */
const NAME = "hidden-exchange-window.bin";
const WHAT = "The window to the other shares";

/**
 * Makes a window in a job's folder.
 * @throws StorageError
 */
export async function openExchangeWindow(job: FileSystemDirectoryHandle): Promise<ExchangeWindow> {
  const mark = crypto.randomUUID();
  let handle: FileSystemSyncAccessHandle | null = null;
  try {
    handle = await openForWriting(job, NAME);
    handle.truncate(WINDOW_BYTES);
    writeWhole(handle, new TextEncoder().encode(mark), 0);
    return windowOf(handle, mark);
  } catch (cause) {
    handle?.close();
    throw storageFailure(WHAT, WINDOW_BYTES, cause);
  }
}

function windowOf(handle: FileSystemSyncAccessHandle, mark: string): ExchangeWindow {
  const slots = new Pool(Array.from({ length: SLOTS }, (_, index) => slotOf(handle, index)));
  return {
    mark,
    async lend(use) {
      const slot = await slots.acquire();
      try {
        return await use(slot);
      } finally {
        slots.release(slot);
      }
    },
    [Symbol.dispose]: () => handle.close(),
  };
}

function slotOf(handle: FileSystemSyncAccessHandle, index: number): WindowSlot {
  const start = index * SLOT_BYTES;
  return {
    index,
    write(bytes, at) {
      invariant(at + bytes.byteLength <= SLOT_BYTES, "what goes through a slot fits into it");
      try {
        writeWhole(handle, bytes, start + at);
      } catch (cause) {
        throw storageFailure(WHAT, bytes.byteLength, cause);
      }
    },
    read(to, at) {
      try {
        const read = handle.read(to, { at: start + at });
        if (read !== to.byteLength) throw new Error(`only ${read} of ${to.byteLength} bytes were read`);
      } catch (cause) {
        throw openingFailure(WHAT, cause);
      }
    },
  };
}
