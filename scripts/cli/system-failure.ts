// What Node.js says of this machine ("ENOSPC: no space left on device, write"), as a sentence with what helps.

import { StorageError } from "../../src/errors.ts";
import { BrowserError } from "./page/watch-browser.ts";

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

/** Of a folder that is made with those above it. */
const NO_PLACE = "no folder can be made there. Choose another one";

/** What Playwright says of a call: which one, what kind of error, its message; the page's stack or a log follows. */
const IN_PAGE = /^page\.\w+: (?:(\w*Error): )?([^\n]*)/;

/** The error itself, or what an error of the operating system or of the browser's driver means. */
export function systemFailure(error: unknown): Error {
  const found = error instanceof Error ? error : new Error(String(error));
  const [, kind, sentence] = IN_PAGE.exec(found.message) ?? [];
  if (sentence !== undefined) return drivenFailure(kind ?? "Error", sentence, error);
  const { code, path, syscall } = found as NodeJS.ErrnoException;
  const meaning = code === "ENOENT" && syscall === "mkdir" ? NO_PLACE : MEANINGS[code ?? ""];
  if (meaning === undefined) return found;
  const what = path === undefined ? "A file" : path;
  const verb = syscall === "mkdir" || syscall === "open" ? "be made or opened" : "be written or read";
  return new StorageError(`${what} could not ${verb}: ${meaning}.`, { cause: error });
}

/** Errors of the page keep their sentence; that it did not come, or not whole, is the browser's failure. */
function drivenFailure(kind: string, sentence: string, cause: unknown): Error {
  if (kind !== "Error") return Object.assign(new Error(sentence, { cause }), { name: kind });
  const reason = sentence.replace(/[.:\s]*$/, "");
  return new BrowserError(
    `The page that does the work could not be opened or went away: ${reason}. One of the browser's processes may have been killed. Give the same command again.`,
    { cause },
  );
}
