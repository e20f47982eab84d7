// How much this origin may still store. `navigator.storage.estimate()` told 10 GiB where 150 GiB could be written, so
// the question is put by truncating a scratch file: sparse, instant, and refused exactly when the quota would refuse.

import { fileStore } from "../storage-answer.ts";
import { openForWriting } from "./open-for-writing.ts";

const SCRATCH = "layerpress-space-probe";
/** The answer is found to a hundredth, and to so many bytes where there is next to nothing. */
const LEAST_STEP = 64 * 1024;
/** Nothing larger is asked for: 4 TiB holds every model. */
const CEILING = 4 * 1024 ** 4;

/**
 * The largest size that the browser grants, nearly; null where OPFS cannot be used. It is the quota that is asked: a
 * disk that is fuller than the quota assumes shows only when bytes are written.
 */
export async function freeStorageBytes(): Promise<number | null> {
  let root: FileSystemDirectoryHandle;
  let handle: FileSystemSyncAccessHandle;
  try {
    root = await fileStore(navigator.storage.getDirectory());
    handle = await openForWriting(root, SCRATCH);
  } catch {
    return null; // another tab is probing, or nothing can be stored, which the job will say
  }
  try {
    let granted = 0;
    let refused = CEILING;
    if (canTake(handle, CEILING)) return CEILING;
    while (refused - granted > Math.max(LEAST_STEP, granted / 100)) {
      const middle = Math.floor((granted + refused) / 2);
      if (canTake(handle, middle)) granted = middle;
      else refused = middle;
    }
    return granted;
  } finally {
    canTake(handle, 0);
    handle.close();
    await fileStore(root.removeEntry(SCRATCH)).catch(() => undefined);
  }
}

function canTake(handle: FileSystemSyncAccessHandle, bytes: number): boolean {
  try {
    handle.truncate(bytes);
    return true;
  } catch {
    return false;
  }
}
