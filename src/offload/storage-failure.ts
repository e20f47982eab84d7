import { firstCause, StorageError } from "../errors.ts";
import { formatBytes } from "../formats/text/format-bytes.ts";

/**
 * What a failed OPFS write means: browsers say QuotaExceededError for their own limit, and less clean things
 * (UnknownError, AbortError, NoSpaceError texts) for a disk that is really full.
 */
export function storageFailure(what: string, bytes: number, thrown: unknown): StorageError {
  const cause = firstCause(thrown);
  if (cause instanceof StorageError) return cause;
  const name = cause instanceof Error ? cause.name : "";
  if (name === "NoModificationAllowedError") {
    return new StorageError(
      `${what} is locked: another tab or an unfinished download holds it. Close it and try again.`,
      {
        cause,
      },
    );
  }
  const full =
    name === "QuotaExceededError" ? "the browser's storage quota or the disk is full" : said(cause);
  return new StorageError(
    `${what} could not take ${formatBytes(bytes)}: ${full}. Free space on the disk, or delete stored models and finished jobs, then go on; what is finished is kept.`,
    { cause },
  );
}

/** What it means that a file or a folder of OPFS does not open, or cannot be listed or deleted. */
export function openingFailure(what: string, thrown: unknown): StorageError {
  const cause = firstCause(thrown);
  if (cause instanceof StorageError) return cause;
  const name = cause instanceof Error ? cause.name : "";
  if (name === "NoModificationAllowedError" || name === "InvalidStateError") {
    return new StorageError(`${what} is in use: another tab works with it. Close it there and try again.`, {
      cause,
    });
  }
  if (name === "NotFoundError") {
    return new StorageError(
      `${what} is no longer in the browser’s storage; it may have been deleted in another tab. Delete what is left of the job, and run it again.`,
      { cause },
    );
  }
  return new StorageError(
    `${what} does not open in the browser’s file store (OPFS): ${said(cause).replace(/\.$/, "")}. The disk may be full: free space. Or this site may store nothing: leave the private window, or allow it to store data. Then go on.`,
    { cause },
  );
}

/** What a cause says; its class, where that tells more than that it is an error. */
function said(cause: unknown): string {
  return cause instanceof Error && cause.name === "Error" ? cause.message : String(cause);
}
