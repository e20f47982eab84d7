import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "playwright";
import type { OutputFile } from "../../../src/api/compressor-api.ts";
import { StorageError } from "../../../src/errors.ts";
import { pageError } from "./page-error.ts";
import { RECEIVING_PATH } from "./receive-files.ts";
import { mapLimited } from "../../../src/map-limited.ts";

/** Files on their way at once: one alone keeps neither the browser nor the disk busy. */
const FILES_AT_ONCE = 4;

/**
 * Has the page send the shown result's files, a few at a time, into the folder that it was opened with, or one inside of that.
 * @throws Error with the page's sentence if a file cannot be written, or comes out with another length.
 */
export async function saveFiles(
  page: Page,
  files: readonly OutputFile[],
  folder: string,
  inside = "",
): Promise<void> {
  await mapLimited(FILES_AT_ONCE, files, async (file) => await saveFile(page, file, folder, inside));
}

async function saveFile(
  page: Page,
  { path, bytes }: OutputFile,
  folder: string,
  inside: string,
): Promise<void> {
  const address = `${RECEIVING_PATH}${encodeURIComponent(join(inside, path))}`;
  const { failure } = await page.evaluate(
    async ([name, to]) =>
      await globalThis.layerpressTold(async () => await globalThis.layerpress.send(name, to)),
    [path, address] as const,
  );
  if (failure) throw pageError(failure);
  const { size } = await stat(join(folder, inside, path));
  if (size !== bytes)
    throw new StorageError(
      `${path} has ${bytes} bytes, but ${size} were saved in ${folder}. Give the same command again.`,
    );
}
