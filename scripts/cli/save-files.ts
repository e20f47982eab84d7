import { copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Page } from "playwright";
import type { OutputFile } from "../../src/pipeline/api.ts";

/**
 * Downloads a result's files, one after the other, into a folder.
 * @throws Error if a download fails or comes out with another length than the page names.
 */
export async function saveFiles(page: Page, files: readonly OutputFile[], folder: string): Promise<void> {
  for (const { path, bytes } of files) {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    const [download] = await Promise.all([
      page.waitForEvent("download", { timeout: 0 }),
      page.evaluate(async (name) => await globalThis.layerpress.save(name), path),
    ]);
    await move(await download.path(), target);
    const { size } = await stat(target);
    if (size !== bytes) throw new Error(`${path} has ${bytes} bytes, but ${size} were saved in ${folder}.`);
  }
}

/** Renames, so that the largest shard is not written twice; copies where the folders lie on different disks. */
async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch {
    await copyFile(from, to);
    await rm(from, { force: true });
  }
}
