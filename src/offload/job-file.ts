// What a job keeps in OPFS for as long as it runs, verbatim: hidden states, so that what a later layer sees after a reload is bit
// for bit what it would have seen, and weights of a layer that the page's memory does not hold.

import { invariant } from "../errors.ts";
import { fileStore, listed } from "../storage-answer.ts";
import { openForWriting } from "./open-for-writing.ts";
import { openingFailure, storageFailure } from "./storage-failure.ts";
import { writeWhole } from "./write-whole.ts";

/** Files of hidden states begin so, whichever there are. */
const HIDDEN_PREFIX = "hidden-";
/** What of the layer at work has no room in memory. No run begins with what another has left in it. */
const LAYER_FILE = "layer-weights.bin";

export class JobFile implements Disposable {
  readonly #handle: FileSystemSyncAccessHandle;
  readonly #what: string;

  private constructor(handle: FileSystemSyncAccessHandle, what: string) {
    this.#handle = handle;
    this.#what = what;
  }

  /**
   * Opens a file of a folder at its full size, which the browser's quota must hold.
   * @param holds what it is the file of, for sentences
   */
  static async open(
    folder: FileSystemDirectoryHandle,
    { name, holds }: { readonly name: string; readonly holds: string },
    bytes: number,
  ): Promise<JobFile> {
    const what = `The file of ${holds} ${name}`;
    let handle: FileSystemSyncAccessHandle | null = null;
    try {
      handle = await openForWriting(folder, name);
      if (handle.getSize() !== bytes) handle.truncate(bytes);
      return new JobFile(handle, what);
    } catch (cause) {
      handle?.close();
      throw storageFailure(what, bytes, cause);
    }
  }

  read(at: number, bytes: number): Uint8Array<ArrayBuffer> {
    const result = new Uint8Array(bytes);
    let read: number;
    try {
      read = this.#handle.read(result, { at });
    } catch (cause) {
      throw openingFailure(this.#what, cause);
    }
    invariant(read === bytes, `${this.#what} holds what is read of it`);
    return result;
  }

  write(at: number, bytes: Uint8Array<ArrayBuffer>): void {
    try {
      writeWhole(this.#handle, bytes, at);
    } catch (cause) {
      throw storageFailure(this.#what, bytes.byteLength, cause);
    }
  }

  flush(): void {
    try {
      this.#handle.flush();
    } catch (cause) {
      throw storageFailure(this.#what, 0, cause);
    }
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }
}

/** Opens a file of hidden states in a folder. */
export async function openHiddenFile(
  folder: FileSystemDirectoryHandle,
  name: string,
  bytes: number,
): Promise<JobFile> {
  return await JobFile.open(folder, { name, holds: "hidden states" }, bytes);
}

/** Removes the files of hidden states of a job that is done; what stays goes with the job. */
export async function removeHiddenFiles(job: FileSystemDirectoryHandle): Promise<void> {
  for await (const name of listed(job.keys())) {
    if (name.startsWith(HIDDEN_PREFIX)) await fileStore(job.removeEntry(name)).catch(() => undefined);
  }
}

/** The file of layers that are at work; it goes when it is disposed of. */
export async function openLayerFile(
  job: FileSystemDirectoryHandle,
  bytes: number,
): Promise<Pick<JobFile, "read" | "write"> & AsyncDisposable> {
  const file = await JobFile.open(job, { name: LAYER_FILE, holds: "layers at work" }, bytes);
  return {
    read: (at, count) => file.read(at, count),
    write: (at, part) => file.write(at, part),
    async [Symbol.asyncDispose]() {
      file[Symbol.dispose]();
      // What stays goes before the job goes on; why the run has ended matters more.
      await removeLayerFile(job).catch(() => undefined);
    },
  };
}

/** Removes the file of layers at work that a run has left which did not come to its end. */
export async function removeLayerFile(job: FileSystemDirectoryHandle): Promise<void> {
  for await (const name of listed(job.keys()))
    if (name === LAYER_FILE) await fileStore(job.removeEntry(name)).catch(() => undefined);
}
