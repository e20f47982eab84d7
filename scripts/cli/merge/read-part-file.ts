// Files of parts, which may come from anybody: only what is a file is opened, and small ones are read up to a bound. A pipe would be
// waited for without end, a device read without end.

import { open, readFile, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { MalformedModelError } from "../../../src/errors.ts";
import { formatBytes } from "../../../src/formats/text/format-bytes.ts";

/**
 * Opens a file that a part must have.
 * @throws MalformedModelError if it is not there, or is no file
 */
export async function openPartFile(path: string): Promise<FileHandle> {
  await sizeOf(path);
  return await open(path);
}

/**
 * Reads a small file that a part must have.
 * @throws MalformedModelError if it is not there, is no file, or has more bytes
 */
export async function readPartFile(path: string, maxBytes: number): Promise<Buffer> {
  const bytes = await sizeOf(path);
  if (bytes <= maxBytes) return await readFile(path);
  throw new MalformedModelError(
    `${path} has ${formatBytes(bytes)}; more than ${formatBytes(maxBytes)} is not expected of it. It was changed since it was made: make it again.`,
  );
}

/** As `readPartFile`; null if there is no such file. */
export async function readPartFileIfAny(path: string, maxBytes: number): Promise<Buffer | null> {
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  return isThere ? await readPartFile(path, maxBytes) : null;
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  if (!found)
    throw new MalformedModelError(
      `${path} is missing, or cannot be reached. Its part was not copied whole: fetch or make it again.`,
    );
  if (!found.isFile())
    throw new MalformedModelError(
      `${path} is no file, as its part says. It was changed since it was made: make it again.`,
    );
  return found.size;
}
