// The command's end of a window (`src/formats/exchange-window.ts`): a file of the page's storage, found in the browser's profile.

import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { SLOT_BYTES, SLOTS, type SlotPart, WINDOW_BYTES } from "../../src/formats/exchange-window.ts";

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

function windowOf(file: FileHandle): WindowFile {
  // Memory that was touched before is copied to in half the time.
  const buffers = Array.from({ length: SLOTS }, () => null as Buffer | null);
  const copy = async (
    slot: number,
    bytes: number,
    from: readonly [FileHandle, number],
    to: readonly [FileHandle, number],
  ) => {
    const buffer = (buffers[slot] ??= Buffer.allocUnsafe(SLOT_BYTES));
    for (let done = 0; done < bytes;) {
      const { bytesRead } = await from[0].read(buffer, done, bytes - done, from[1] + done);
      if (bytesRead === 0) throw new Error(`A file of the exchange ended ${bytes - done} bytes too early.`);
      done += bytesRead;
    }
    for (let done = 0; done < bytes;) {
      const { bytesWritten } = await to[0].write(buffer, done, bytes - done, to[1] + done);
      done += bytesWritten;
    }
  };
  return {
    give: async ({ slot, bytes, at }, to) => await copy(slot, bytes, [file, slot * SLOT_BYTES], [to, at]),
    take: async ({ slot, bytes, at }, from) => await copy(slot, bytes, [from, at], [file, slot * SLOT_BYTES]),
    [Symbol.asyncDispose]: async () => await file.close(),
  };
}
