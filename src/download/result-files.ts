// The finished model folder, as files that the browser keeps on disk: opening one reads none of its bytes.

import { StorageError, VerificationError } from "../errors.ts";
import { isSafePath } from "../formats/files/safe-path.ts";
import { fileStore } from "../storage-answer.ts";

export interface ResultFile {
  /** Path inside the model folder, checked: plain names, no way out. */
  readonly path: string;
  readonly bytes: number;
  /** A fresh File each time, because a File taken before its last write cannot be read. */
  open(): Promise<File>;
}

/**
 * The files of a finished job, which lie in OPFS at `layerpress/jobs/<jobId>/output/<path>`.
 * @throws VerificationError for names that must not reach a real disk; `open` throws a StorageError if the file is gone
 * and a VerificationError if it has not the size that the job wrote.
 */
export function resultFiles(
  jobId: string,
  files: readonly { readonly path: string; readonly bytes: number }[],
): ResultFile[] {
  checkPaths([jobId, ...files.map(({ path }) => path)]);
  const folders = ["layerpress", "jobs", jobId, "output"];
  return files.map(({ path, bytes }) => ({
    path,
    bytes,
    open: async () => {
      const file = await openFile([...folders, ...path.split("/")]);
      if (file.size === bytes) return file;
      throw new VerificationError(
        `${path} has ${file.size} bytes in the browser’s storage, but the job wrote ${bytes}. Delete the job and run it again.`,
      );
    },
  }));
}

/**
 * Lets only names through that mean the same on every disk: plain, relative, and different without regard to case.
 * @throws VerificationError naming the first that is not.
 */
export function checkPaths(paths: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of paths) {
    if (!isSafePath(path)) {
      throw new VerificationError(
        `The result holds a file with the name ${JSON.stringify(path)}, which is not saved.`,
      );
    }
    const folded = path.toLowerCase();
    if (seen.has(folded)) {
      throw new VerificationError(
        `The result holds ${path} twice, in different cases; one would replace the other.`,
      );
    }
    seen.add(folded);
  }
}

async function openFile(parts: readonly string[]): Promise<File> {
  const name = parts.at(-1) ?? "";
  try {
    let folder = await fileStore(navigator.storage.getDirectory());
    for (const part of parts.slice(0, -1)) folder = await fileStore(folder.getDirectoryHandle(part));
    return await fileStore((await fileStore(folder.getFileHandle(name))).getFile());
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new StorageError(
      `${name} is no longer in the browser’s storage. It may have been deleted in another tab; run the job again.`,
      { cause },
    );
  }
}
