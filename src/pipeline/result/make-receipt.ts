// A finished result's receipt.json, made when it is asked for: hashing reads every byte that the job has written, which would
// make each job longer.

import { StorageError } from "../../errors.ts";
import { isHashed, RECEIPT } from "../../formats/files/result-documents.ts";
import { findJobFolder, openOutputFile, openOutputFolder } from "../../offload/job-folder.ts";
import { readJournal } from "../../offload/journal.ts";
import { replaceOutputFile } from "../../offload/output-store.ts";
import type { ResultSummary } from "../../api/compressor-api.ts";
import type { Receipt } from "../../api/receipt.ts";
import { finishedResult, recordedForward, recordedReceipt } from "../job/job-journal.ts";
import { hashFiles } from "./hash-files.ts";
import { withPresentSizes } from "./record-quality.ts";

/**
 * Writes `receipt.json` into a finished job's result, unless it is there.
 * @param onBytes bytes hashed so far
 * @param known SHA-256 of files that are hashed already, by path
 * @returns the job's summary with the receipt among its files
 * @throws StorageError if the result is gone, cannot be written, or was made by a version that wrote down no facts
 */
export async function makeReceipt(
  jobId: string,
  onBytes: (hashedBytes: number, totalBytes: number) => void,
  known: Readonly<Record<string, string>> = {},
): Promise<ResultSummary> {
  const job = await findJobFolder(jobId);
  const records = (job && (await readJournal(job))) ?? [];
  const result = finishedResult({ records });
  if (!job || !result) throw new StorageError("The result is no longer in the browser’s storage.");
  const present = await withPresentSizes(result);
  if (present.files.some(({ path }) => path === RECEIPT)) return present;
  const facts = recordedReceipt(records);
  if (!facts)
    throw new StorageError(
      "This result was made by an earlier version of the page, which did not write down what a receipt says. Delete the job and run it again.",
    );
  const output = await openOutputFolder(job);
  const hashed = result.files.filter(({ path }) => isHashed(path));
  const unknown = hashed.filter(({ path }) => known[path] === undefined);
  const totalBytes = unknown.reduce((sum, { bytes }) => sum + bytes, 0);
  const opened = await Promise.all(
    unknown.map(async ({ path }) => ({ path, file: await openOutputFile(output, path) })),
  );
  let hashedBytes = 0;
  const hashes = await hashFiles(opened, (bytes) => onBytes((hashedBytes += bytes), totalBytes));
  const made = Object.fromEntries(unknown.map(({ path }, index) => [path, hashes[index]]));
  const files = hashed.map(({ path, bytes }) => ({ path, bytes, sha256: known[path] ?? made[path] ?? "" }));
  const products = recordedForward({ records });
  const ran = products === null ? {} : { forward_products: products };
  const receipt: Receipt = { layout: 1, ...facts, ...ran, files };
  await replaceOutputFile(output, RECEIPT, `${JSON.stringify(receipt, null, 2)}\n`);
  return await withPresentSizes(result);
}
