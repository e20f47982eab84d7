import { fileStore } from "../storage-answer.ts";

/**
 * Opens a file of a folder in OPFS, made if it is not there.
 * @throws StorageError if the browser does not answer; a DOMException if the file is locked or cannot be made
 */
export async function openForWriting(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<FileSystemSyncAccessHandle> {
  const file = await fileStore(folder.getFileHandle(name, { create: true }));
  return await fileStore(file.createSyncAccessHandle());
}
