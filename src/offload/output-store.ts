// The result's shards in OPFS, written in place: the layout is known from the plan, so a tensor goes to its final bytes
// as soon as it is finished, and no second pass assembles anything.

import { invariant } from "../errors.ts";
import type { TensorEntry } from "../formats/safetensors/safetensors.ts";
import { fileStore } from "../storage-answer.ts";
import { openForWriting } from "./open-for-writing.ts";
import { storageFailure } from "./storage-failure.ts";
import { writeWhole } from "./write-whole.ts";

export interface ShardLayout {
  readonly path: string;
  readonly header: Uint8Array;
  readonly fileBytes: number;
  readonly entries: readonly TensorEntry[];
}

interface OpenShard {
  readonly path: string;
  readonly handle: FileSystemSyncAccessHandle;
}

export class OutputStore implements Disposable {
  readonly #shards: readonly OpenShard[];
  readonly #places: ReadonlyMap<string, { shard: OpenShard; entry: TensorEntry }>;

  private constructor(
    shards: readonly OpenShard[],
    places: ReadonlyMap<string, { shard: OpenShard; entry: TensorEntry }>,
  ) {
    this.#shards = shards;
    this.#places = places;
  }

  /**
   * Opens every shard and takes its full size at once: space that is not there is missed before the work, not after.
   * @throws StorageError if the browser refuses the space or the files are locked.
   */
  static async open(
    output: FileSystemDirectoryHandle,
    layouts: readonly ShardLayout[],
  ): Promise<OutputStore> {
    const shards: OpenShard[] = [];
    const places = new Map<string, { shard: OpenShard; entry: TensorEntry }>();
    try {
      for (const layout of layouts) {
        const shard = { path: layout.path, handle: await openShard(output, layout) };
        shards.push(shard);
        for (const entry of layout.entries) places.set(entry.name, { shard, entry });
      }
    } catch (error) {
      for (const { handle } of shards) handle.close();
      throw error;
    }
    return new OutputStore(shards, places);
  }

  /** Writes a part of a tensor at `offset` of its bytes. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    const place = this.#places.get(tensor);
    invariant(place, `the plan has no output tensor ${tensor}`);
    const { shard, entry } = place;
    const at = entry.start + offset;
    invariant(at + bytes.byteLength <= entry.end, `${tensor} is written past its end`);
    try {
      writeWhole(shard.handle, bytes, at);
    } catch (cause) {
      throw storageFailure(`The result file ${shard.path}`, bytes.byteLength, cause);
    }
  }

  /** Puts what was written on the disk; before the journal says that it is there. */
  flush(): void {
    for (const { path, handle } of this.#shards) {
      try {
        handle.flush();
      } catch (cause) {
        throw storageFailure(`The result file ${path}`, 0, cause);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const { handle } of this.#shards) handle.close();
  }
}

async function openShard(
  output: FileSystemDirectoryHandle,
  layout: ShardLayout,
): Promise<FileSystemSyncAccessHandle> {
  let handle: FileSystemSyncAccessHandle | null = null;
  try {
    handle = await openForWriting(output, layout.path);
    if (handle.getSize() !== layout.fileBytes) handle.truncate(layout.fileBytes);
    writeWhole(handle, new Uint8Array(layout.header), 0);
    return handle;
  } catch (cause) {
    handle?.close();
    throw storageFailure(`The result file ${layout.path}`, layout.fileBytes, cause);
  }
}

/** Opens a file of the result, and the folders that it lies in, made if they are not there. */
async function openBelow(
  output: FileSystemDirectoryHandle,
  path: string,
): Promise<FileSystemSyncAccessHandle> {
  const folders = path.split("/");
  const name = folders.pop() ?? "";
  let folder = output;
  for (const part of folders) folder = await fileStore(folder.getDirectoryHandle(part, { create: true }));
  return await openForWriting(folder, name);
}

/** Writes a small file of the result whole; its path may lead through folders. */
export async function writeOutputFile(
  output: FileSystemDirectoryHandle,
  path: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  try {
    const handle = await openBelow(output, path);
    try {
      handle.truncate(0);
      writeWhole(handle, bytes, 0);
      handle.flush();
    } finally {
      handle.close();
    }
  } catch (cause) {
    throw storageFailure(`The result file ${path}`, bytes.byteLength, cause);
  }
}

/**
 * Replaces a small file of a finished result: the browser writes a copy and swaps it in when it is complete, so that a
 * crash leaves the old file or the new one.
 * @throws StorageError if it cannot be written.
 */
export async function replaceOutputFile(
  output: FileSystemDirectoryHandle,
  path: string,
  content: string,
): Promise<void> {
  try {
    const file = await fileStore(output.getFileHandle(path, { create: true }));
    const writable = await fileStore(file.createWritable());
    try {
      await fileStore(writable.write(content));
    } catch (error) {
      await fileStore(writable.abort()).catch(() => undefined);
      throw error;
    }
    await fileStore(writable.close());
  } catch (cause) {
    throw storageFailure(`The result file ${path}`, content.length, cause);
  }
}
