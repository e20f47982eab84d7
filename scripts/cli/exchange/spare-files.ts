// Files that nobody reads any more, to be written over: what a file has of memory or of a disk is written several times as fast as
// what the system has to find and to clear first.

import { randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { undoneBy } from "../../../src/ended-by.ts";

/** Smaller ones are not worth keeping. */
const LEAST_BYTES = 64 * 1024;

export interface SpareFiles extends AsyncDisposable {
  /** Takes a file from its place, if it is there. */
  keep(path: string): Promise<void>;
  /** Opens a file of so many bytes at a place where none is, whatever they are. */
  open(path: string, bytes: number): Promise<FileHandle>;
}

/**
 * Keeps files in a folder of their own file system, under names that begin with `own`; what an earlier run has left of them is removed.
 */
export async function openSpareFiles(folder: string, own: string): Promise<SpareFiles> {
  for (const name of await readdir(folder).catch(() => []))
    if (name.startsWith(own)) await rm(join(folder, name), { force: true });
  const spare: { readonly path: string; readonly bytes: number }[] = [];
  const takeFor = (bytes: number) => {
    // From the smallest to the largest: the first one that is large enough, or else the one that lacks least.
    const found = spare.find((file) => file.bytes >= bytes) ?? spare.at(-1);
    if (found) spare.splice(spare.indexOf(found), 1);
    return found;
  };
  return {
    async keep(path) {
      const bytes = await stat(path)
        .then(({ size }) => size)
        .catch(() => 0);
      if (bytes < LEAST_BYTES) return await rm(path, { force: true });
      const kept = { path: join(folder, `${own}${randomUUID()}`), bytes };
      await rename(path, kept.path);
      const place = spare.findIndex((file) => file.bytes > bytes);
      spare.splice(place < 0 ? spare.length : place, 0, kept);
    },
    async open(path, bytes) {
      const found = takeFor(bytes);
      // Whoever begins the same share anew removes them.
      const isThere =
        found &&
        (await rename(found.path, path).then(
          () => true,
          () => false,
        ));
      if (!isThere) return await open(path, "w");
      const file = await open(path, "r+");
      await undoneBy(
        async () => await file.truncate(bytes),
        async () => await file.close(),
      );
      return file;
    },
    async [Symbol.asyncDispose]() {
      for (const { path } of spare.splice(0)) await rm(path, { force: true });
    },
  };
}
