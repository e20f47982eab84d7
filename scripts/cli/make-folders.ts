import { mkdir, rmdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a folder and those above it, as Node.js's recursive mkdir does, which says ENOENT where the disk can only be read, and never
 * comes to an end in /proc.
 * @returns the first folder that was made; undefined if all were there
 * @throws the system's error of the folder that cannot be made
 */
export async function makeFolders(path: string): Promise<string | undefined> {
  try {
    return (await makeOne(path)) ? path : undefined;
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) throw error;
    const first = await makeFolders(dirname(path));
    return (await makeOne(path)) ? (first ?? path) : first;
  }
}

/**
 * Removes a folder and those above it as far as they are empty.
 * @param first the last one that is removed: what `makeFolders` gave
 */
export async function removeEmptyFolders(path: string, first: string): Promise<void> {
  for (let each = path; ; each = dirname(each)) {
    const isGone = await rmdir(each).then(
      () => true,
      () => false,
    );
    if (!isGone || each === first) return;
  }
}

/** False if it is there, which systems have several words for. */
async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    const found = await stat(path).catch(() => null);
    if (!found?.isDirectory()) throw error;
    return false;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
