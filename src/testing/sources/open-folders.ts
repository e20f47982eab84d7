// Folders of a test on this machine's disk.

import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export interface Folders {
  /** The one that holds all others. */
  readonly path: string;
  /** A path below it that nothing lies at yet. */
  fresh(): string;
  /** Writes files by path into the folder of this name; returns its path. */
  save(name: string, files: ReadonlyMap<string, Uint8Array>): Promise<string>;
}

/** Makes a folder that holds others. @param prefix of its name */
export async function openFolders(prefix: string): Promise<Folders> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  let count = 0;
  return {
    path: folder,
    fresh: () => join(folder, `out-${++count}`),
    async save(name, files) {
      const target = join(folder, name);
      for (const [path, bytes] of files) {
        await mkdir(dirname(join(target, path)), { recursive: true });
        await writeFile(join(target, path), bytes);
      }
      return target;
    },
  };
}
