// Hidden states in OPFS, verbatim: what a later layer sees after a reload is bit for bit what it would have seen.

import { invariant } from "../errors.ts";
import { fileStore, listed } from "../storage-answer.ts";
import { openForWriting } from "./open-for-writing.ts";
import { openingFailure, storageFailure } from "./storage-failure.ts";
import { writeWhole } from "./write-whole.ts";

export class HiddenFile implements Disposable {
  readonly #handle: FileSystemSyncAccessHandle;
  readonly #name: string;

  private constructor(handle: FileSystemSyncAccessHandle, name: string) {
    this.#handle = handle;
    this.#name = name;
  }

  /** Opens `name` in the job's folder at its full size. */
  static async open(job: FileSystemDirectoryHandle, name: string, bytes: number): Promise<HiddenFile> {
    let handle: FileSystemSyncAccessHandle | null = null;
    try {
      handle = await openForWriting(job, name);
      if (handle.getSize() !== bytes) handle.truncate(bytes);
      return new HiddenFile(handle, name);
    } catch (cause) {
      handle?.close();
      throw storageFailure(`The file of hidden states ${name}`, bytes, cause);
    }
  }

  read(at: number, bytes: number): Uint8Array<ArrayBuffer> {
    const result = new Uint8Array(bytes);
    let read: number;
    try {
      read = this.#handle.read(result, { at });
    } catch (cause) {
      throw openingFailure(`The file of hidden states ${this.#name}`, cause);
    }
    invariant(read === bytes, `${this.#name} is shorter than its layer`);
    return result;
  }

  write(at: number, bytes: Uint8Array<ArrayBuffer>): void {
    try {
      writeWhole(this.#handle, bytes, at);
    } catch (cause) {
      throw storageFailure(`The file of hidden states ${this.#name}`, bytes.byteLength, cause);
    }
  }

  flush(): void {
    try {
      this.#handle.flush();
    } catch (cause) {
      throw storageFailure(`The file of hidden states ${this.#name}`, 0, cause);
    }
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }
}

/** Removes the files of hidden states of a job that is done; what stays goes with the job. */
export async function removeHiddenFiles(job: FileSystemDirectoryHandle): Promise<void> {
  for await (const name of listed(job.keys())) {
    if (name.startsWith("hidden-")) await fileStore(job.removeEntry(name)).catch(() => undefined);
  }
}
