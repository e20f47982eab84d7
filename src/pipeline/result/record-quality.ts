// A measured quality in a finished result. The journal and the weights stay as they are; the two files that tell of the
// quality are swapped one by one, and how large they are now is looked up rather than remembered.

import { MalformedModelError, StorageError } from "../../errors.ts";
import { findOutputFolder } from "../../offload/job-folder.ts";
import { replaceOutputFile } from "../../offload/output-store.ts";
import { cardWithQuality, type MeasuredQuality, reportWithQuality } from "../../package/quality-report.ts";
import type { ResultSummary } from "../../api/compressor-api.ts";

const REPORT = "quantization-report.json";
const CARD = "README.md";
/** Two tabs that measure one result write one after the other. */
const LOCK = "layerpress-quality";

/**
 * Writes a quality into the report and the model card of a finished job's result, in place of an earlier one.
 * @throws StorageError if the result is gone or cannot be written; both files are then whole, old or new.
 */
export async function recordQuality(jobId: string, quality: MeasuredQuality): Promise<void> {
  await navigator.locks.request(LOCK, async () => {
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

function withQuality(path: string, text: string, change: (text: string) => string): string {
  try {
    return change(text);
  } catch (cause) {
    throw new MalformedModelError(`${path} of the result is damaged: it is no JSON.`, { cause });
  }
}

async function readText(output: FileSystemDirectoryHandle, path: string): Promise<string> {
  return await (await (await output.getFileHandle(path)).getFile()).text();
}

/** A job's summary with the sizes that its files have now: recording a quality changes two of them. */
export async function withPresentSizes(result: ResultSummary): Promise<ResultSummary> {
  const output = await findOutputFolder(result.jobId);
  if (!output) return result;
  const files = await Promise.all(
    result.files.map(async ({ path, bytes }) =>
      path === REPORT || path === CARD
        ? { path, bytes: (await (await output.getFileHandle(path)).getFile()).size }
        : { path, bytes },
    ),
  );
  return { ...result, files };
}
