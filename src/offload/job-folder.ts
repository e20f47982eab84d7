// Where a job lives in OPFS: layerpress/jobs/<jobId>/{journal.jsonl, output/…}. Prefixed, because sites under one origin
// share its storage.

import { openingFailure } from "./storage-failure.ts";
import { fileStore, listed } from "../storage-answer.ts";

const ROOT = ["layerpress", "jobs"] as const;
const OUTPUT_FOLDER = "output";

/** @throws StorageError */
async function openJobsFolder(): Promise<FileSystemDirectoryHandle> {
  try {
    let folder = await fileStore(navigator.storage.getDirectory());
    for (const name of ROOT) folder = await fileStore(folder.getDirectoryHandle(name, { create: true }));
    return folder;
  } catch (cause) {
    throw openingFailure("The folder of all jobs", cause);
  }
}

/** Opens a job's folder; makes it if it is not there. @throws StorageError */
export async function openJobFolder(jobId: string): Promise<FileSystemDirectoryHandle> {
  return await openFolder(await openJobsFolder(), jobId, "The job's folder");
}

/** @throws StorageError */
export async function openOutputFolder(job: FileSystemDirectoryHandle): Promise<FileSystemDirectoryHandle> {
  return await openFolder(job, OUTPUT_FOLDER, "The folder of the result");
}

async function openFolder(
  parent: FileSystemDirectoryHandle,
  name: string,
  what: string,
): Promise<FileSystemDirectoryHandle> {
  try {
    return await fileStore(parent.getDirectoryHandle(name, { create: true }));
  } catch (cause) {
    throw openingFailure(what, cause);
  }
}

/** A job's folder, or null if there is no such job: what only looks at a job must not make one. @throws StorageError */
export async function findJobFolder(jobId: string): Promise<FileSystemDirectoryHandle | null> {
  return await findFolder(await openJobsFolder(), jobId);
}

/** The result of a job, or null if there is no such job. @throws StorageError */
export async function findOutputFolder(jobId: string): Promise<FileSystemDirectoryHandle | null> {
  const job = await findJobFolder(jobId);
  return job && (await findFolder(job, OUTPUT_FOLDER));
}

async function findFolder(
  parent: FileSystemDirectoryHandle,
  name: string,
): Promise<FileSystemDirectoryHandle | null> {
  try {
    return await fileStore(parent.getDirectoryHandle(name));
  } catch (error) {
    if (isMissing(error)) return null;
    throw openingFailure("The job's folder", error);
  }
}

/** Deletes a job; one that is gone already is no failure. @throws StorageError if another tab works with it */
export async function deleteJobFolder(jobId: string): Promise<void> {
  const jobs = await openJobsFolder();
  try {
    await fileStore(jobs.removeEntry(jobId, { recursive: true }));
  } catch (error) {
    if (!isMissing(error)) throw openingFailure("The job", error);
  }
}

/** Names of all jobs in OPFS. @throws StorageError */
export async function listJobFolders(): Promise<string[]> {
  const jobs = await openJobsFolder();
  try {
    const names: string[] = [];
    for await (const [name, handle] of listed(jobs.entries()))
      if (handle.kind === "directory") names.push(name);
    return names;
  } catch (cause) {
    throw openingFailure("The folder of all jobs", cause);
  }
}

/** Bytes of all files below a folder; what another tab deletes meanwhile counts as nothing. */
export async function folderBytes(folder: FileSystemDirectoryHandle): Promise<number> {
  let bytes = 0;
  try {
    for await (const handle of listed(folder.values())) {
      bytes += isFile(handle) ? (await fileStore(handle.getFile())).size : await folderBytes(handle);
    }
  } catch (error) {
    if (!isMissing(error)) throw openingFailure("The job's folder", error);
  }
  return bytes;
}

/**
 * A file of a result by its path, which may lead through folders.
 * @throws StorageError if it is gone, or the browser does not give it
 */
export async function openOutputFile(output: FileSystemDirectoryHandle, path: string): Promise<File> {
  const folders = path.split("/");
  const name = folders.pop() ?? "";
  try {
    let folder = output;
    for (const part of folders) folder = await fileStore(folder.getDirectoryHandle(part));
    const handle = await fileStore(folder.getFileHandle(name));
    return await fileStore(handle.getFile());
  } catch (cause) {
    throw openingFailure(`The result file ${path}`, cause);
  }
}

function isFile(handle: FileSystemHandle): handle is FileSystemFileHandle {
  return handle.kind === "file";
}

function isMissing(error: unknown): boolean {
  return error instanceof DOMException && error.name === "NotFoundError";
}
