// Factors are folded into a layer's tensors in threads of their own: the compressor's thread has a GPU to feed meanwhile.

import { transfer } from "comlink";
// oxlint-disable-next-line import/default -- Vite makes the default export.
import folderUrl from "../../../../workers/folder.ts?worker&url";
import { type FolderApi, foldPiece } from "../../../formats/weights/fold.ts";
import type { FoldPiece } from "../../../onload/fold-layer.ts";
import { createThreadPool } from "../../../thread-pool.ts";

/** Less is folded sooner than it goes to a thread and comes back. */
const THREAD_BYTES = 64 * 1024;

/** Folds pieces in threads. @param idleMs after which threads without work end */
export function createFolders(idleMs?: number): FoldPiece {
  const script = { url: folderUrl, base: import.meta.url, name: "folder" };
  const { ask } = createThreadPool<FolderApi>(script, { idleMs });
  return async (piece, copy) => {
    const here = () => foldPiece({ ...piece, bytes: copy() });
    if (piece.byteLength < THREAD_BYTES) return here();
    return await ask(async (api) => {
      const bytes = copy();
      return await api.fold(transfer({ ...piece, bytes }, [bytes.buffer]));
    }, here);
  };
}
