// One zip of the whole folder: stored, not deflated, because weights do not shrink; Zip64 where it has to be. The zip is
// a stream from the files on disk to a file on disk, so its size does not matter.

import { makeZip } from "client-zip";
import { LayerpressError, StorageError } from "../errors.ts";
import { fileStore } from "../storage-answer.ts";
import { countBytes } from "./count-bytes.ts";
import { offerFile } from "./offer-file.ts";
import type { ResultFile } from "./result-files.ts";
import { saveFailure } from "./save-folder.ts";

/** Zips that were built here because the browser cannot stream to the user's disk; folder in OPFS, and name of the lock. */
const STAGING = "layerpress-zip";

/**
 * The zip's bytes; every entry lies in the folder `name`. Files are opened one after the other.
 * @param onBytes bytes of the zip that have been read
 */
export function zipStream(
  files: readonly ResultFile[],
  name: string,
  onBytes: (bytes: number) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const zip = makeZip(entries(files, name)) as ReadableStream<Uint8Array<ArrayBuffer>>;
  return zip.pipeThrough(countBytes(onBytes));
}

async function* entries(files: readonly ResultFile[], name: string) {
  for (const file of files) {
    yield { name: `${name}/${file.path}`, input: await file.open(), size: file.bytes };
  }
}

/**
 * Streams the zip into a file that the user chose.
 * @throws StorageError if it cannot be written.
 */
export async function saveZip(
  files: readonly ResultFile[],
  target: FileSystemFileHandle,
  name: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const zip = () => zipStream(files, name, onBytes);
  await pipe(zip, async () => await target.createWritable(), `${name}.zip`);
}

/**
 * Builds the zip in OPFS and hands it to the browser's downloads: for browsers that cannot stream to a chosen file. It
 * needs the space twice until the copy is deleted, at the next zip or the next visit.
 * @throws StorageError if the space is not there.
 */
export async function saveStagedZip(
  files: readonly ResultFile[],
  name: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  await deleteStagedZips();
  const handle = await stagedFile(`${name}.zip`);
  const zip = () => zipStream(files, name, onBytes);
  await pipe(zip, async () => await handle.createWritable(), `${name}.zip`);
  // Held until this tab closes: the browser may still be copying when another tab wants to tidy up.
  void navigator.locks.request(STAGING, { mode: "shared" }, async () => await new Promise(() => undefined));
  offerFile(await handle.getFile(), `${name}.zip`);
}

async function stagedFile(file: string): Promise<FileSystemFileHandle> {
  try {
    const root = await fileStore(navigator.storage.getDirectory());
    const folder = await fileStore(root.getDirectoryHandle(STAGING, { create: true }));
    return await fileStore(folder.getFileHandle(file, { create: true }));
  } catch (cause) {
    throw cause instanceof StorageError ? cause : saveFailure(file, cause);
  }
}

/** Deletes zips of earlier visits, unless a tab may still be handing one over; what does not go stays until the next. */
export async function deleteStagedZips(): Promise<void> {
  await navigator.locks.request(STAGING, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    try {
      const root = await fileStore(navigator.storage.getDirectory());
      await fileStore(root.removeEntry(STAGING, { recursive: true }));
    } catch (error) {
      if (!(error instanceof DOMException || error instanceof StorageError)) throw error;
    }
  });
}

async function pipe(
  zip: () => ReadableStream<Uint8Array<ArrayBuffer>>,
  open: () => Promise<FileSystemWritableFileStream>,
  name: string,
): Promise<void> {
  try {
    // Not before: a stream that nobody takes goes on reading, and stays open.
    const target = await open();
    await zip().pipeTo(target);
  } catch (cause) {
    throw cause instanceof LayerpressError ? cause : saveFailure(name, cause);
  }
}
