// What was dropped, pasted or chosen: files and folders, or the text of a link.

import { AccessError } from "../../errors.ts";
import type { DroppedFile, SourceReference } from "../../api/source-api.ts";

/** More files than any model folder has; keeps a dropped home directory from being walked to its end. */
const MAX_FILES = 20_000;

/** Files from an input; those of a folder carry their path inside it. */
export function filesReference(files: readonly File[]): SourceReference {
  return {
    kind: "files",
    files: files.map((file) => ({ path: file.webkitRelativePath || file.name, file })),
  };
}

/**
 * Reads what was dropped: files and folders first, else a link or text that names a model; null if it is neither.
 * Entries have to be taken before the first await, because the browser empties the transfer after the event.
 * @throws AccessError if a dropped folder holds more than 20,000 files or cannot be read.
 */
export async function readDrop(transfer: DataTransfer): Promise<SourceReference | null> {
  const entries = [...transfer.items].flatMap((item) => {
    const entry = item.kind === "file" ? item.webkitGetAsEntry() : null;
    return entry ? [entry] : [];
  });
  if (entries.length > 0) {
    const files: DroppedFile[] = [];
    for (const entry of entries) await collectFiles(entry, files);
    return files.length > 0 ? { kind: "files", files } : null;
  }
  if (transfer.files.length > 0) return filesReference([...transfer.files]);
  const link = firstLink(transfer.getData("text/uri-list")) ?? transfer.getData("text/plain").trim();
  return link === "" ? null : { kind: "address", address: link };
}

/** The one file of a drop that looks like text to calibrate with rather than like a part of a model, or null. */
export function calibrationFileOf(reference: SourceReference): File | null {
  const [only, ...more] = reference.kind === "files" ? reference.files : [];
  if (!only || more.length > 0) return null;
  return /\.(txt|jsonl|ndjson|json|parquet)(\.gz)?$/i.test(only.path) &&
    !/(config|index)\.json$/i.test(only.path)
    ? only.file
    : null;
}

/** The first address of a `text/uri-list`, whose lines that begin with "#" are comments (RFC 2483). */
export function firstLink(uriList: string): string | null {
  const lines = uriList.split(/\r?\n/).map((line) => line.trim());
  return lines.find((line) => line !== "" && !line.startsWith("#")) ?? null;
}

async function collectFiles(entry: FileSystemEntry, files: DroppedFile[]): Promise<void> {
  if (isFileEntry(entry)) {
    if (files.length >= MAX_FILES) {
      throw new AccessError(
        `What was dropped holds more than ${MAX_FILES} files. Drop the folder of one model, the one with its config.json.`,
      );
    }
    files.push({ path: entry.fullPath.replace(/^\//, ""), file: await openEntry(entry) });
    return;
  }
  for (const child of await readFolder(entry as FileSystemDirectoryEntry)) await collectFiles(child, files);
}

async function openEntry(entry: FileSystemFileEntry): Promise<File> {
  try {
    return await new Promise<File>((resolve, reject) => entry.file(resolve, reject));
  } catch (cause) {
    throw new AccessError(`${entry.name} was dropped, but the browser cannot read it.`, { cause });
  }
}

/** A folder's reader hands out entries a hundred at a time, and an empty list at the end. */
async function readFolder(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function isFileEntry(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}
