// The publishing worker's side of the contract: a finished result, its receipt and its card to a repository of the Hub.

import { StorageError, VerificationError } from "../../errors.ts";
import { openingFailure } from "../../offload/storage-failure.ts";
import { findOutputFolder, openOutputFile } from "../../offload/job-folder.ts";
import { fileStore } from "../../storage-answer.ts";
import { carriedLicense, publishedCard } from "../../package/published-card.ts";
import { beginLogin, endLogin, signIn } from "../../publish/hub-account.ts";
import type { UploadedFile } from "../../publish/holds-files.ts";
import { publishFiles } from "../../publish/publish-files.ts";
import type { PublisherApi, PublishProgress, PublishRequest } from "../../api/publisher-api.ts";
import type { Receipt } from "../../api/receipt.ts";
import { makeReceipt } from "../result/make-receipt.ts";
import { CARD, RECEIPT } from "../../formats/files/result-documents.ts";

export function createPublisher(): PublisherApi {
  let running = new AbortController();
  return {
    signIn,
    beginLogin,
    endLogin,
    license: async (jobId) => carriedLicense(await textOf(await outputOf(jobId), CARD)),
    async publish(request, onProgress) {
      running = new AbortController();
      const { signal } = running;
      const files = await filesOf(request, onProgress);
      return await publishFiles({ ...request, files, signal, onProgress });
    },
    stop: () => running.abort(),
  };
}

/** The result's files as they lie on the disk, its receipt among them, and its card as it stands in a repository. */
async function filesOf(
  { jobId, repository }: PublishRequest,
  onProgress: (progress: PublishProgress) => void,
): Promise<UploadedFile[]> {
  const output = await outputOf(jobId);
  const { files } = await makeReceipt(jobId, (doneBytes, totalBytes) =>
    onProgress({ phase: "hashing", doneBytes, totalBytes, bytesPerSecond: 0, secondsLeft: null }),
  );
  const receipt = JSON.parse(await textOf(output, RECEIPT)) as Receipt;
  const card = publishedCard(await textOf(output, CARD), repository, receipt.files);
  const hashes = new Map(receipt.files.map(({ path, sha256 }) => [path, sha256]));
  return await Promise.all(
    files.map(async ({ path, bytes }) => {
      if (path === CARD) return { path, content: new Blob([card], { type: "text/markdown" }) };
      const content = await openOutputFile(output, path);
      if (content.size === bytes) return { path, content, sha256: hashes.get(path) };
      throw new VerificationError(
        `${path} has ${content.size} bytes in the browser’s storage, but the job wrote ${bytes}. Delete the job and run it again.`,
      );
    }),
  );
}

async function outputOf(jobId: string): Promise<FileSystemDirectoryHandle> {
  const output = await findOutputFolder(jobId);
  if (!output) throw new StorageError("The result is no longer in the browser’s storage.");
  return output;
}

async function textOf(output: FileSystemDirectoryHandle, path: string): Promise<string> {
  const file = await openOutputFile(output, path);
  try {
    return await fileStore(file.text());
  } catch (cause) {
    throw openingFailure(`The result file ${path}`, cause);
  }
}
