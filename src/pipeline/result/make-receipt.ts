// A finished result's receipt.json, made when it is asked for: hashing reads every byte that the job has written, which would
// make each job longer.

import { createSHA256 } from "hash-wasm";
import { StorageError } from "../../errors.ts";
import { isHashed, RECEIPT } from "../../formats/result-documents.ts";
import { findJobFolder, openOutputFile, openOutputFolder } from "../../offload/job-folder.ts";
import { readJournal } from "../../offload/journal.ts";
import { openingFailure } from "../../offload/storage-failure.ts";
import { replaceOutputFile } from "../../offload/output-store.ts";
import type { ResultSummary } from "../../api/compressor-api.ts";
import type { Receipt } from "../../api/receipt.ts";
import { finishedResult, recordedReceipt } from "../job/job-journal.ts";
import { withPresentSizes } from "./record-quality.ts";

/** Bytes that are hashed at a time: enough to be fast, and nothing to a machine's memory. */
const PIECE_BYTES = 8 * 1024 ** 2;

/**
 * Writes `receipt.json` into a finished job's result, unless it is there.
 * @param onBytes bytes hashed so far
 * @returns the job's summary with the receipt among its files
 * @throws StorageError if the result is gone, cannot be written, or was made by a version that wrote down no facts
 */
export async function makeReceipt(
  jobId: string,
  onBytes: (hashedBytes: number, totalBytes: number) => void,
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
  const totalBytes = hashed.reduce((sum, { bytes }) => sum + bytes, 0);
  const files: Receipt["files"][number][] = [];
  let hashedBytes = 0;
  for (const { path, bytes } of hashed) {
    const onPiece = (piece: number) => onBytes((hashedBytes += piece), totalBytes);
    files.push({ path, bytes, sha256: await hashFile(await openOutputFile(output, path), path, onPiece) });
  }
  const receipt: Receipt = { layout: 1, ...facts, files };
  await replaceOutputFile(output, RECEIPT, `${JSON.stringify(receipt, null, 2)}\n`);
  return await withPresentSizes(result);
}

/** @throws StorageError if the file goes away meanwhile */
async function hashFile(file: File, path: string, onPiece: (bytes: number) => void): Promise<string> {
  const hash = await createSHA256();
  for (let start = 0; start < file.size; start += PIECE_BYTES) {
    const piece = new Uint8Array(await readPiece(file.slice(start, start + PIECE_BYTES), path));
    hash.update(piece);
    onPiece(piece.byteLength);
  }
  return hash.digest("hex");
}

async function readPiece(piece: Blob, path: string): Promise<ArrayBuffer> {
  try {
    return await piece.arrayBuffer();
  } catch (cause) {
    throw openingFailure(`The result file ${path}`, cause);
  }
}
