// Whether a repository holds a result already: an upload that was cut may have been committed, and nobody heard of it.

import type { ListFileEntry } from "@huggingface/hub";

export interface UploadedFile {
  readonly path: string;
  /** A file of a disk is read in pieces as it is sent. */
  readonly content: Blob;
  /** In hexadecimal, where it is known. */
  readonly sha256?: string | undefined;
}

/** What the Hub puts into a repository that it makes. */
const MADE_BY_HUB = new Set([".gitattributes"]);

/** The files that somebody has put into a repository. */
export function ownFiles(listed: readonly ListFileEntry[]): ListFileEntry[] {
  return listed.filter(({ type, path }) => type === "file" && !MADE_BY_HUB.has(path));
}

/** True if a repository has these files and no others, byte for byte. Large files are told by the hashes that are known of them. */
export async function holdsFiles(
  listed: readonly ListFileEntry[],
  files: readonly UploadedFile[],
): Promise<boolean> {
  const entries = new Map(ownFiles(listed).map((entry) => [entry.path, entry]));
  if (entries.size !== files.length) return false;
  for (const file of files) {
    const entry = entries.get(file.path);
    if (!entry || !(await isSame(entry, file))) return false;
  }
  return true;
}

async function isSame(
  { size, oid, lfs }: ListFileEntry,
  { content, sha256 }: UploadedFile,
): Promise<boolean> {
  if ((lfs?.size ?? size) !== content.size) return false;
  return lfs ? lfs.oid === sha256 : oid === (await blobId(content));
}

/** Git's name of a content: the SHA-1 of its kind, its length and its bytes. */
async function blobId(content: Blob): Promise<string> {
  const whole = await new Blob([`blob ${content.size}\0`, content]).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", whole));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
