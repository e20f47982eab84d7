// A folder in memory with the part of the File System API that saving uses.

interface MemoryFolder {
  readonly handle: FileSystemDirectoryHandle;
  /** Contents by path, as they are when a writable was closed. */
  readonly files: Map<string, Uint8Array>;
}

/** @param existing paths that are there already: "a/" for a folder, "a" for a file */
export function memoryFolder(existing: readonly string[] = []): MemoryFolder {
  const files = new Map<string, Uint8Array>();
  const taken = new Set(existing);
  return { handle: folderHandle("", files, taken), files };
}

function folderHandle(
  path: string,
  files: Map<string, Uint8Array>,
  taken: Set<string>,
): FileSystemDirectoryHandle {
  const handle = {
    getDirectoryHandle: async (name: string, options?: { create?: boolean }) => {
      const inside = `${path}${name}/`;
      if (taken.has(`${path}${name}`)) throw new DOMException("a file", "TypeMismatchError");
      if (!options?.create && !taken.has(inside)) throw new DOMException("not there", "NotFoundError");
      taken.add(inside);
      return folderHandle(inside, files, taken);
    },
    getFileHandle: async (name: string) => ({
      createWritable: async () => writable((bytes) => files.set(`${path}${name}`, bytes)),
    }),
  };
  return handle as unknown as FileSystemDirectoryHandle;
}

function writable(onClose: (bytes: Uint8Array) => void): WritableStream<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  return new WritableStream({
    write: (chunk) => void chunks.push(chunk),
    close: async () => onClose(new Uint8Array(await new Blob(chunks).arrayBuffer())),
  });
}
