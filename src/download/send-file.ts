import { StorageError } from "../errors.ts";
import type { ResultFile } from "./result-files.ts";

/**
 * Posts a file to a server that writes it down, from disk to network without passing through memory.
 * @throws StorageError with the server's own words if it does not take the file
 */
export async function sendFile(file: ResultFile, address: string): Promise<void> {
  const response = await fetch(address, { method: "POST", body: await file.open() });
  if (response.ok) return;
  throw new StorageError(`${file.path} could not be saved: ${await response.text()}`);
}
