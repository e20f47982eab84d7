// A measured quality in a finished result. The journal and the weights stay as they are; the two files that tell of the
// quality are swapped one by one, and how large they are now is looked up rather than remembered.

import { MalformedModelError, StorageError } from "../../errors.ts";
import { findOutputFolder, openOutputFile } from "../../offload/job-folder.ts";
import { replaceOutputFile } from "../../offload/output-store.ts";
import { cardWithQuality, type MeasuredQuality, reportWithQuality } from "../../package/quality-report.ts";
import { fileStore, listed, storagePatience } from "../../storage-answer.ts";
import { CARD, RECEIPT, REPORT } from "../../formats/files/result-documents.ts";
import type { ResultSummary } from "../../api/compressor-api.ts";

/** Two tabs that measure one result write one after the other. */
const LOCK = "layerpress-quality";

/**
 * Writes a quality into the report and the model card of a finished job's result, in place of an earlier one.
 * @throws StorageError if the result is gone or cannot be written; both files are then whole, old or new.
 */
export async function recordQuality(jobId: string, quality: MeasuredQuality): Promise<void> {
  await withLock(async () => {
    const output = await findOutputFolder(jobId);
    if (!output) throw new StorageError("The result is no longer in the browser’s storage.");
    const report = withQuality(REPORT, await readText(output, REPORT), (text) =>
      reportWithQuality(text, quality),
    );
    const card = cardWithQuality(await readText(output, CARD), quality);
    await replaceOutputFile(output, REPORT, report);
    await replaceOutputFile(output, CARD, card);
  });
}

/** @throws StorageError if another tab keeps the lock for longer than anything is written */
async function withLock(write: () => Promise<void>): Promise<void> {
  const signal = AbortSignal.timeout(storagePatience.milliseconds);
  try {
    await navigator.locks.request(LOCK, { signal }, write);
  } catch (cause) {
    if (cause !== signal.reason) throw cause;
    throw new StorageError(
      "Another tab of this page is writing a measurement and does not come to an end. Close it, then measure again.",
      { cause },
    );
  }
}

function withQuality(path: string, text: string, change: (text: string) => string): string {
  try {
    return change(text);
  } catch (cause) {
    throw new MalformedModelError(`${path} of the result is damaged: it is no JSON.`, { cause });
  }
}

async function readText(output: FileSystemDirectoryHandle, path: string): Promise<string> {
  return await fileStore((await openOutputFile(output, path)).text());
}

/**
 * A job's summary with the files that its folder has now: recording a quality changes the sizes of two of them, and a receipt may
 * have come since.
 */
export async function withPresentSizes(result: ResultSummary): Promise<ResultSummary> {
  const output = await findOutputFolder(result.jobId);
  if (!output) return result;
  const sizeOf = async (path: string) => (await openOutputFile(output, path)).size;
  const files = await Promise.all(
    result.files.map(async ({ path, bytes }) =>
      path === REPORT || path === CARD ? { path, bytes: await sizeOf(path) } : { path, bytes },
    ),
  );
  // Empty, it is what a full disk or a crash left of one that was not written.
  const receipt = { path: RECEIPT, bytes: (await hasFile(output, RECEIPT)) ? await sizeOf(RECEIPT) : 0 };
  if (receipt.bytes === 0) return { ...result, files };
  return { ...result, files: [...files, receipt].toSorted((a, b) => (a.path < b.path ? -1 : 1)) };
}

async function hasFile(folder: FileSystemDirectoryHandle, name: string): Promise<boolean> {
  for await (const own of listed(folder.keys())) if (own === name) return true;
  return false;
}
