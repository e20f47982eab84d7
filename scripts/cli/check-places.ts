// What lies where a result's files are written: what is in their way is told before the job begins, what lies beside them with the result.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "../../src/errors.ts";
import { listSome } from "../../src/formats/text/list-some.ts";

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

/** More names are not read in a sentence. */
const NAMED = 5;

/**
 * Of files beside a result's, those that loaders of models would take for files of it: left by another result, or by another model.
 * @param written paths of the result's files in the folder
 * @returns a sentence, or none
 */
export async function strangersNote(folder: string, written: readonly string[]): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => !entry.isDirectory() && RESULT_FILE.test(entry.name));
  const strangers = names.map(({ name }) => name).filter((name) => !written.includes(name));
  if (strangers.length === 0) return [];
  return [
    `${folder} holds files that are not of this result: ${listSome(strangers.toSorted(), NAMED)}. Loaders may take them for files of it: move them away.`,
  ];
}
