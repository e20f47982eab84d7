// Model folders as the test server serves them: from disk, from memory, or made up byte by byte.

import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

export interface ServedFile {
  readonly bytes: number;
  /** Strong ETag with its quotes; a new version of a file has a new one. */
  readonly etag: string;
  /** The bytes from `start` to `end` (exclusive), in pieces. */
  read(start: number, end: number): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Files of one model by their path in its folder. */
export type ServedModel = ReadonlyMap<string, ServedFile>;

/** Piece size for files on disk: large enough that the loop costs nothing. */
const PIECE_BYTES = 1024 ** 2;

/** Serves the files of a folder, sub-folders included, as they lie on disk. */
export async function folderModel(folder: string): Promise<ServedModel> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name));
  // The Hub's cache is a folder of links; one that leads nowhere is no file.
  const found = await Promise.all(
    paths.map(async (path) => [path, await stat(path).catch(() => null)] as const),
  );
  const files = found
    .flatMap(([path, stats]) => (stats?.isFile() ? [[path, stats] as const] : []))
    .map(([path, { size, mtimeMs }]): [string, ServedFile] => {
      const file: ServedFile = {
        bytes: size,
        etag: `"${Math.round(mtimeMs).toString(16)}-${size.toString(16)}"`,
        read: (start, end) =>
          createReadStream(path, { start, end: Math.max(end - 1, start), highWaterMark: PIECE_BYTES }),
      };
      return [
        path
          .slice(folder.length)
          .replace(/^[\\/]+/, "")
          .replaceAll("\\", "/"),
        file,
      ];
    });
  return new Map(files);
}

/** Serves contents from memory. */
export function memoryModel(contents: Readonly<Record<string, string | Uint8Array>>): ServedModel {
  return new Map(
    Object.entries(contents).map(([path, content]) => {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      const file: ServedFile = {
        bytes: bytes.byteLength,
        etag: `"${checksum(bytes).toString(16)}-${bytes.byteLength.toString(16)}"`,
        read: (start, end) => [bytes.subarray(start, end)],
      };
      return [path, file];
    }),
  );
}

/** FNV-1a: tells versions of a test file apart. */
function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

export interface HostedModel {
  readonly files: ServedModel;
  /** Listed by the Hub, but its files need the token of an account that accepted the licence. */
  readonly gated?: boolean;
  /** Without the token the Hub denies that it exists. */
  readonly private?: boolean;
  /** The plain folder, too, redirects its files to the other origin. */
  readonly redirect?: boolean;
}

export interface ModelServerOptions {
  /** By "owner/name". */
  readonly models: Readonly<Record<string, HostedModel>>;
  /** The one token that opens gated and private models. */
  readonly token?: string;
  /** Entries of a page of the Hub's file list. */
  readonly treePageEntries?: number;
}
