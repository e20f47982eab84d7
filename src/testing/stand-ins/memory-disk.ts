// The origin private file system in memory, for running the whole conductor in Node: every operation that changes something
// is counted, and the world can end at any of them.

import { Crash } from "./crash.ts";

type Entry = MemoryFile | MemoryFolder;

class MemoryFile {
  bytes = new Uint8Array(0);
  locked = false;
}

/** What jobs ask of a File. Node's own answers from another thread, which takes longer than the rest of a small job. */
class MemoryBlob {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly name: string;
  readonly size: number;

  constructor(bytes: Uint8Array<ArrayBuffer>, name = "") {
    this.#bytes = bytes;
    this.name = name;
    this.size = bytes.byteLength;
  }

  slice(start?: number, end?: number): MemoryBlob {
    return new MemoryBlob(this.#bytes.slice(start, end));
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return await Promise.resolve(this.#bytes.slice().buffer);
  }

  async text(): Promise<string> {
    return await Promise.resolve(new TextDecoder().decode(this.#bytes));
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new Blob([this.#bytes]).stream();
  }
}

class MemoryFolder {
  readonly entries = new Map<string, Entry>();
}

export type DiskFault = "crash" | "full" | "short of bytes" | "silent";

export interface MemoryDisk {
  /** Operations so far that changed, or could change, what is stored. */
  readonly operations: number;
  /** The root as `navigator.storage.getDirectory()` gives it. */
  root(): FileSystemDirectoryHandle;
  /**
   * At the operation of this number something happens: "crash" ends the world, a write half done; "full" lets writes fail
   * from there on, as a full disk does; "short of bytes" lets writes take fewer bytes than they were given, without a word; "silent"
   * answers nothing from there on but what is answered at once.
   */
  failAt(operation: number, how: DiskFault): void;
  /** Lets writes to files of this name fail, as a full disk does. */
  fillAt(name: string): void;
  /** After a crash or on a disk that has room again: locks are gone, what was written is there. */
  recover(): void;
  /** All files by path. */
  files(): Map<string, Uint8Array<ArrayBuffer>>;
}

export function createMemoryDisk(): MemoryDisk {
  const top = new MemoryFolder();
  const never = { failAt: Number.POSITIVE_INFINITY, fullName: null };
  const state: DiskState = { operations: 0, ...never, how: "crash", dead: false };
  return {
    get operations() {
      return state.operations;
    },
    root: () => folderHandle("", top, state),
    failAt(operation, how) {
      state.failAt = operation;
      state.how = how;
    },
    fillAt(name) {
      state.fullName = name;
    },
    recover() {
      Object.assign(state, never, { dead: false });
      for (const [, file] of allFiles(top)) file.locked = false;
    },
    files: () => new Map(Array.from(allFiles(top), ([path, { bytes }]) => [path, bytes.slice()])),
  };
}

interface DiskState {
  operations: number;
  failAt: number;
  how: DiskFault;
  fullName: string | null;
  dead: boolean;
}

/** Counts an operation of so many bytes; returns how many of them it may take. */
function permit(state: DiskState, bytes = 0): number {
  if (state.dead) throw new Crash();
  state.operations++;
  if (state.operations < state.failAt || state.how === "silent") return bytes;
  if (state.how === "crash") {
    state.dead = true;
    return Math.floor(bytes / 2);
  }
  if (bytes === 0) return 0;
  if (state.how === "short of bytes") return bytes - 1;
  throw diskFull();
}

function diskFull(): DOMException {
  return new DOMException("The disk is full.", "QuotaExceededError");
}

function endIfDead(state: DiskState): void {
  if (state.dead) throw new Crash();
}

/** What comes at a later turn, or never. */
async function answer<T>({ how, operations, failAt }: DiskState, value: T): Promise<T> {
  if (how === "silent" && operations >= failAt) await new Promise(() => undefined);
  return await Promise.resolve(value);
}

function* allFiles(folder: MemoryFolder, path = ""): Generator<[string, MemoryFile]> {
  for (const [name, entry] of folder.entries) {
    if (entry instanceof MemoryFile) yield [path + name, entry];
    else yield* allFiles(entry, `${path}${name}/`);
  }
}

function notFound(name: string): DOMException {
  return new DOMException(`There is no ${name}.`, "NotFoundError");
}

function folderHandle(name: string, folder: MemoryFolder, state: DiskState): FileSystemDirectoryHandle {
  const handleOf = (entryName: string, entry: Entry) =>
    entry instanceof MemoryFile ? fileHandle(entryName, entry, state) : folderHandle(entryName, entry, state);
  const open = async <Kind extends Entry>(entryName: string, create: boolean, make: () => Kind) => {
    endIfDead(state);
    const known = folder.entries.get(entryName);
    if (known) return await answer(state, known as Kind);
    if (!create) throw notFound(entryName);
    permit(state);
    const made = make();
    folder.entries.set(entryName, made);
    endIfDead(state);
    return await answer(state, made);
  };
  const handle = {
    kind: "directory",
    name,
    getDirectoryHandle: async (entryName: string, { create = false } = {}) =>
      folderHandle(entryName, await open(entryName, create, () => new MemoryFolder()), state),
    getFileHandle: async (entryName: string, { create = false } = {}) =>
      fileHandle(entryName, await open(entryName, create, () => new MemoryFile()), state),
    async removeEntry(entryName: string) {
      permit(state);
      if (!folder.entries.delete(entryName)) throw notFound(entryName);
      endIfDead(state);
      await answer(state, undefined);
    },
    async *keys() {
      yield* await answer(state, [...folder.entries.keys()]);
    },
    async *values() {
      yield* await answer(
        state,
        Array.from(folder.entries, ([key, entry]) => handleOf(key, entry)),
      );
    },
    async *entries() {
      yield* await answer(
        state,
        Array.from(folder.entries, ([key, entry]) => [key, handleOf(key, entry)]),
      );
    },
  };
  return handle as unknown as FileSystemDirectoryHandle;
}

function fileHandle(name: string, file: MemoryFile, state: DiskState): FileSystemFileHandle {
  const handle = {
    kind: "file",
    name,
    async getFile() {
      endIfDead(state);
      return await answer(state, new MemoryBlob(file.bytes.slice(), name));
    },
    async createWritable() {
      permit(state);
      const pieces: string[] = [];
      return await answer(state, {
        write: async (text: string) => void (await answer(state, pieces.push(text))),
        abort: async () => await answer(state, undefined),
        // What was written is swapped in whole, or not at all.
        async close() {
          permit(state);
          endIfDead(state);
          file.bytes = new TextEncoder().encode(pieces.join(""));
          await answer(state, undefined);
        },
      });
    },
    async createSyncAccessHandle() {
      endIfDead(state);
      if (file.locked) throw new DOMException(`${name} is locked.`, "NoModificationAllowedError");
      file.locked = true;
      return await answer(state, syncHandle(name, file, state));
    },
  };
  return handle as unknown as FileSystemFileHandle;
}

function syncHandle(name: string, file: MemoryFile, state: DiskState): FileSystemSyncAccessHandle {
  const resize = (size: number) => {
    const bytes = new Uint8Array(size);
    bytes.set(file.bytes.subarray(0, size));
    file.bytes = bytes;
  };
  const handle = {
    getSize: () => file.bytes.byteLength,
    read(to: Uint8Array, { at = 0 } = {}) {
      endIfDead(state);
      const part = file.bytes.subarray(at, at + to.byteLength);
      to.set(part);
      return part.byteLength;
    },
    write(from: Uint8Array, { at = 0 } = {}) {
      if (name === state.fullName) throw diskFull();
      const taken = permit(state, from.byteLength);
      if (at + taken > file.bytes.byteLength) resize(at + taken);
      file.bytes.set(from.subarray(0, taken), at);
      endIfDead(state);
      return taken;
    },
    truncate(size: number) {
      permit(state);
      resize(size);
      endIfDead(state);
    },
    flush() {
      permit(state);
      endIfDead(state);
    },
    close() {
      file.locked = false;
    },
  };
  return handle;
}
