// What lies where a result's files are to be written, told before the job begins and not when its result is saved.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "../../src/errors.ts";

/** Names that files of results have, and folders elsewhere have not: of "LICENSE" or "x.model" nobody can say. */
const RESULT_FILE = /^README\.md$|\.(safetensors|json|yaml|jinja)$/;

/**
 * @param folders of several results: the folders inside `out` that they are written to
 * @throws StorageError if a folder lies where a file is to be written, or a file where a folder is
 */
export async function checkPlaces(out: string, folders: readonly string[] = []): Promise<void> {
  for (const place of folders.length > 0 ? folders.map((folder) => join(out, folder)) : [out]) {
    const found = await stat(place).catch(() => null);
    if (!found) continue;
    if (!found.isDirectory())
      throw new StorageError(
        `${place} is a file, and a result is to be written into a folder of this name. Move the file away, or choose another folder.`,
      );
    const entries = await readdir(place, { withFileTypes: true });
    const inTheWay = entries.find((entry) => entry.isDirectory() && RESULT_FILE.test(entry.name));
    if (inTheWay)
      throw new StorageError(
        `${join(place, inTheWay.name)} is a folder with the name of a result’s file, which could not be written there. Move it away, or choose another folder.`,
      );
  }
}
