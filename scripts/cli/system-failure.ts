// What Node.js says of this machine ("ENOSPC: no space left on device, write"), as a sentence with what helps.

import { StorageError } from "../../src/errors.ts";

/** By Node.js's codes. */
const MEANINGS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full. Free space, then give the same command again; it goes on from what is finished",
  EDQUOT: "your quota on this disk is used up. Free space, then give the same command again",
  EACCES: "this user may not. Choose another folder, or change its permissions",
  EPERM: "this user may not. Choose another folder, or change its permissions",
  EROFS: "the disk can only be read. Choose another folder",
  ENOTDIR: "a file lies where a folder is needed. Choose another folder, or move the file away",
  EEXIST: "a file lies where a folder is needed. Choose another folder, or move the file away",
  EISDIR: "a folder lies where a file is needed. Choose another folder, or move that one away",
  ENOENT: "it is not there, or was moved or deleted meanwhile. Give the same command again",
  ELOOP: "its links lead in a circle. Choose another folder",
  ENAMETOOLONG: "its name is longer than this disk takes. Choose another folder",
  EIO: "the disk fails. Look at its state, and choose another one",
  ESTALE: "the disk is gone, or its server. Connect it again, then give the same command again",
  EMFILE: "too many files are open. Raise the limit (ulimit -n), then give the same command again",
};

/** The error itself, or what an error of the operating system means. */
export function systemFailure(error: unknown): Error {
  const found = error instanceof Error ? error : new Error(String(error));
  const { code, path, syscall } = found as NodeJS.ErrnoException;
  const meaning = MEANINGS[code ?? ""];
  if (meaning === undefined) return found;
  const what = path === undefined ? "A file" : path;
  const verb = syscall === "mkdir" || syscall === "open" ? "be made or opened" : "be written or read";
  return new StorageError(`${what} could not ${verb}: ${meaning}.`, { cause: error });
}
