import { StorageError } from "../errors.ts";
import type { ResultFile } from "./result-files.ts";
import { countBytes } from "./count-bytes.ts";

/** More folders of one name than anybody keeps. */
const MAX_SIBLINGS = 1_000;

/**
 * Copies the files, one stream at a time, into a new folder inside `parent`. A folder that is there already is left
 * alone, since it may hold the original model; the new one is then numbered.
 * @param onBytes bytes written so far
 * @returns the new folder's name
 * @throws StorageError if a file cannot be written; a file that was cut short is not left behind.
 */
export async function saveFolder(
  files: readonly ResultFile[],
  parent: FileSystemDirectoryHandle,
  name: string,
  onBytes: (savedBytes: number) => void,
): Promise<string> {
  const free = await freeName(parent, name);
  const root = await parent.getDirectoryHandle(free, { create: true }).catch((cause: unknown) => {
    throw saveFailure(free, cause);
  });
  let savedBytes = 0;
  for (const file of files) {
    const before = savedBytes;
    await copyFile(file, root, (bytes) => onBytes((savedBytes = before + bytes)));
  }
  return free;
}

async function copyFile(
  source: ResultFile,
  root: FileSystemDirectoryHandle,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const input = await source.open();
  const parts = source.path.split("/");
  try {
    let folder = root;
    for (const part of parts.slice(0, -1)) folder = await folder.getDirectoryHandle(part, { create: true });
    const handle = await folder.getFileHandle(parts.at(-1) ?? "", { create: true });
    // Before the file is read: a stream that nobody takes would stay open.
    const target = await handle.createWritable();
    // A writable writes beside the file and replaces it when closed: pipeTo closes it, or aborts it on failure.
    await input.stream().pipeThrough(countBytes(onBytes)).pipeTo(target);
  } catch (cause) {
    throw saveFailure(source.path, cause);
  }
}

/** The first of "name", "name-2", "name-3"… that does not exist in `parent`. */
async function freeName(parent: FileSystemDirectoryHandle, name: string): Promise<string> {
  for (let number = 1; number <= MAX_SIBLINGS; number++) {
    const candidate = number === 1 ? name : `${name}-${number}`;
    if (!(await exists(parent, candidate))) return candidate;
  }
  throw new StorageError(
    `The chosen folder holds more than ${MAX_SIBLINGS} folders named ${name}. Choose another.`,
  );
}

async function exists(parent: FileSystemDirectoryHandle, name: string): Promise<boolean> {
  try {
    await parent.getDirectoryHandle(name);
    return true;
  } catch (error) {
    // A file of that name is there, which no folder can replace.
    if (error instanceof DOMException && error.name === "TypeMismatchError") return true;
    if (error instanceof DOMException && error.name === "NotFoundError") return false;
    throw saveFailure(name, error);
  }
}

/** A failed write in words: the disk is full, the permission was withdrawn, or what the browser says. */
export function saveFailure(path: string, cause: unknown): StorageError {
  const name = cause instanceof Error ? cause.name : "";
  const reason =
    name === "QuotaExceededError"
      ? "the disk is full"
      : name === "NotAllowedError"
        ? "the browser was not allowed to"
        : String(cause instanceof Error ? cause.message : cause);
  return new StorageError(
    `${path} could not be saved: ${reason}. The result is still kept in this browser.`,
    {
      cause,
    },
  );
}
