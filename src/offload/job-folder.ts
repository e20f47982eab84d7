// Where a job lives in OPFS: layerpress/jobs/<jobId>/{journal.jsonl, output/…}. Prefixed, because sites under one origin
// share its storage.

const ROOT = ["layerpress", "jobs"] as const;
export const OUTPUT_FOLDER = "output";

export async function openJobsFolder(): Promise<FileSystemDirectoryHandle> {
  let folder = await navigator.storage.getDirectory();
  for (const name of ROOT) folder = await folder.getDirectoryHandle(name, { create: true });
  return folder;
}

export async function openJobFolder(jobId: string): Promise<FileSystemDirectoryHandle> {
  return await (await openJobsFolder()).getDirectoryHandle(jobId, { create: true });
}

export async function openOutputFolder(job: FileSystemDirectoryHandle): Promise<FileSystemDirectoryHandle> {
  return await job.getDirectoryHandle(OUTPUT_FOLDER, { create: true });
}

/** The result of a job, or null if there is no such job. */
export async function findOutputFolder(jobId: string): Promise<FileSystemDirectoryHandle | null> {
  try {
    const job = await (await openJobsFolder()).getDirectoryHandle(jobId);
    return await job.getDirectoryHandle(OUTPUT_FOLDER);
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return null;
    throw error;
  }
}

export async function deleteJobFolder(jobId: string): Promise<void> {
  await (await openJobsFolder()).removeEntry(jobId, { recursive: true });
}

/** Names of all jobs in OPFS. */
export async function listJobFolders(): Promise<string[]> {
  const names: string[] = [];
  for await (const [name, handle] of (await openJobsFolder()).entries()) {
    if (handle.kind === "directory") names.push(name);
  }
  return names;
}

/** Bytes of all files below a folder. */
export async function folderBytes(folder: FileSystemDirectoryHandle): Promise<number> {
  let bytes = 0;
  for await (const handle of folder.values()) {
    bytes += isFile(handle) ? (await handle.getFile()).size : await folderBytes(handle);
  }
  return bytes;
}

function isFile(handle: FileSystemHandle): handle is FileSystemFileHandle {
  return handle.kind === "file";
}
