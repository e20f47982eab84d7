// The command's end of a window (`src/formats/files/exchange-window.ts`): a file of the page's storage, found in the browser's profile.

import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  SLOT_BYTES,
  SLOTS,
  type SlotPart,
  WINDOW_BYTES,
} from "../../../src/formats/files/exchange-window.ts";

/** Node has four threads for files. */
const PART_BYTES = SLOT_BYTES / 4;

export interface WindowFile extends AsyncDisposable {
  /** Puts the bytes of a slot where the part says into a file. */
  give(part: SlotPart, to: FileHandle): Promise<void>;
  /** Fills a slot with bytes of a file. */
  take(part: SlotPart, from: FileHandle): Promise<void>;
}

/** The file below `profile` that is as large as a window and begins with `mark`; null if there is none. */
export async function findWindow(profile: string, mark: string): Promise<WindowFile | null> {
  const entries = await readdir(profile, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    );
    if (bytes !== WINDOW_BYTES) continue;
    const file = await open(path, "r+").catch(() => null);
    if (file && (await beginsWith(file, mark))) return windowOf(file);
    await file?.close();
  }
  return null;
}

async function beginsWith(file: FileHandle, mark: string): Promise<boolean> {
  const due = Buffer.from(mark);
  const { buffer } = await file.read(Buffer.alloc(due.byteLength), 0, due.byteLength, 0);
  return buffer.equals(due);
}

/** Copies as many bytes as `buffer` has from a place of a file to one of another. */
async function copyPart(
  buffer: Buffer,
  [from, start]: readonly [FileHandle, number],
  [to, end]: readonly [FileHandle, number],
): Promise<void> {
  for (let done = 0; done < buffer.byteLength;) {
    const left = buffer.byteLength - done;
    const { bytesRead } = await from.read(buffer, done, left, start + done);
    if (bytesRead === 0) throw new Error(`A file of the exchange ended ${left} bytes too early.`);
    done += bytesRead;
  }
  for (let done = 0; done < buffer.byteLength;) {
    const { bytesWritten } = await to.write(buffer, done, buffer.byteLength - done, end + done);
    done += bytesWritten;
  }
}

function windowOf(file: FileHandle): WindowFile {
  // Memory that was touched before is copied to in half the time, and threads copy side by side.
  const buffers = Array.from({ length: SLOTS }, () => null as Buffer | null);
  const copy = async (
    slot: number,
    bytes: number,
    from: readonly [FileHandle, number],
    to: readonly [FileHandle, number],
  ) => {
    const buffer = (buffers[slot] ??= Buffer.allocUnsafe(SLOT_BYTES));
    const starts = Array.from({ length: Math.ceil(bytes / PART_BYTES) }, (_, part) => part * PART_BYTES);
    const copies = starts.map(async (start) => {
      const part = buffer.subarray(start, Math.min(start + PART_BYTES, bytes));
      await copyPart(part, [from[0], from[1] + start], [to[0], to[1] + start]);
    });
    // Neither file is closed while one of them is at work.
    await Promise.allSettled(copies);
    await Promise.all(copies);
  };
  return {
    give: async ({ slot, bytes, at }, to) => await copy(slot, bytes, [file, slot * SLOT_BYTES], [to, at]),
    take: async ({ slot, bytes, at }, from) => await copy(slot, bytes, [from, at], [file, slot * SLOT_BYTES]),
    [Symbol.asyncDispose]: async () => await file.close(),
  };
}
