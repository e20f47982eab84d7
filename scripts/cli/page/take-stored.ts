// Large files of a result, found where the browser stores them: into the folder by a second name, which moves no bytes, and hashed in
// threads. Through the page they would go in pieces of some KiB, and be hashed by the thread that takes those.

import { chmod, link, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { OutputFile } from "../../../src/api/compressor-api.ts";
import { copyRanges, type RangesCopy } from "../merge/copy-ranges.ts";

/** Smaller files come through the page in no time. */
const LARGE_BYTES = 64 * 1024 ** 2;

/** A result's file and where the browser has it. */
interface StoredFile {
  readonly file: OutputFile;
  readonly stored: string;
}

/**
 * Puts those large files of a result into `folder` that are the only ones of their size in the browser's profile.
 * @returns their SHA-256 by path; the others are left to the page
 * @throws StorageError, or the system's error, if one cannot be written
 */
export async function takeStored(
  profile: string,
  files: readonly OutputFile[],
  folder: string,
  largeBytes = LARGE_BYTES,
): Promise<ReadonlyMap<string, string>> {
  const hashes = new Map<string, string>();
  const copies: (RangesCopy & { readonly path: string })[] = [];
  for (const { file, stored } of await findStored(profile, files, largeBytes)) {
    const target = join(folder, file.path);
    const isLinked = await linkAs(stored, target);
    copies.push({
      path: file.path,
      header: new Uint8Array(),
      ranges: [{ path: stored, start: 0, end: file.bytes }],
      target: isLinked ? null : target,
    });
  }
  await copyRanges(copies, ({ path }, { sha256 }) => void hashes.set(path, sha256));
  return hashes;
}

async function findStored(
  profile: string,
  files: readonly OutputFile[],
  largeBytes: number,
): Promise<StoredFile[]> {
  const large = files.filter(({ bytes }) => bytes >= largeBytes);
  if (large.length === 0) return [];
  const stored = new Map<number, string[]>(large.map(({ bytes }) => [bytes, []]));
  for (const entry of await readdir(profile, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => -1,
    );
    stored.get(bytes)?.push(path);
  }
  const isAlone = ({ bytes }: OutputFile) => large.filter((file) => file.bytes === bytes).length === 1;
  return large.filter(isAlone).flatMap((file) => {
    const [path, ...others] = stored.get(file.bytes) ?? [];
    return path && others.length === 0 ? [{ file, stored: path }] : [];
  });
}

/** Gives a file a second name, with the rights that a new one has; false on another file system, or one that has no such names. */
async function linkAs(stored: string, target: string): Promise<boolean> {
  await mkdir(dirname(target), { recursive: true });
  await rm(target, { force: true });
  await writeFile(target, "");
  const { mode } = await stat(target);
  await rm(target);
  try {
    await link(stored, target);
  } catch {
    return false;
  }
  await chmod(target, mode);
  return true;
}
