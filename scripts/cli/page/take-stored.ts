// Large files of a result, found where the browser stores them: into the folder by a second name, which moves no bytes, and hashed in
// threads. Through the page they would go in pieces of some KiB, and be hashed by the thread that takes those.

import { createHash } from "node:crypto";
import { chmod, link, mkdir, open, readdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { OutputFile } from "../../../src/api/compressor-api.ts";
import { type SampledPlaces, samplePlaces } from "../../../src/formats/files/sampled-places.ts";
import { mapLimited } from "../../../src/map-limited.ts";
import { copyRanges, type RangesCopy } from "../merge/copy-ranges.ts";
import { endedBy } from "../../../src/ended-by.ts";

/** SHA-256 of a result's file at these places, as the page has it; null where it cannot read it, which it says when it is asked for it. */
export type SampleOfPage = (path: string, places: SampledPlaces) => Promise<string | null>;

/** Each is some 1,000 short reads, which wait for each other. */
const SAMPLED_AT_ONCE = 8;
/** Smaller files come through the page in no time. */
const LARGE_BYTES = 64 * 1024 ** 2;

/** A result's file and where the browser has it. */
interface StoredFile {
  readonly file: OutputFile;
  readonly stored: string;
}

/**
 * Puts those large files of a result into `folder` that are the only ones of their size in the browser's profile, and have the bytes that
 * the page has where it is asked: another one may be as long, such as an earlier job's, and lie there alone.
 * @param sample asks the page
 * @returns their SHA-256 by path; the others are left to the page
 * @throws StorageError, or the system's error, if one cannot be written
 */
export async function takeStored(
  profile: string,
  files: readonly OutputFile[],
  folder: string,
  sample: SampleOfPage,
  largeBytes = LARGE_BYTES,
): Promise<ReadonlyMap<string, string>> {
  const hashes = new Map<string, string>();
  const copies: (RangesCopy & { readonly path: string })[] = [];
  const found = await findStored(profile, files, largeBytes);
  const same = await mapLimited(SAMPLED_AT_ONCE, found, async (each) => await isSame(each, sample));
  for (const { file, stored } of found.filter((_, index) => same[index])) {
    const target = join(folder, file.path);
    const isLinked = await linkAs(stored, target);
    copies.push({
      path: file.path,
      header: new Uint8Array(),
      ranges: [{ path: stored, start: 0, end: file.bytes }],
      target: isLinked ? null : target,
    });
  }
  await copyRanges(copies, ({ path }, { sha256 }) => void hashes.set(path, sha256));
  return hashes;
}

async function findStored(
  profile: string,
  files: readonly OutputFile[],
  largeBytes: number,
): Promise<StoredFile[]> {
  const large = files.filter(({ bytes }) => bytes >= largeBytes);
  if (large.length === 0) return [];
  const stored = new Map<number, string[]>(large.map(({ bytes }) => [bytes, []]));
  for (const entry of await readdir(profile, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => -1,
    );
    stored.get(bytes)?.push(path);
  }
  const isAlone = ({ bytes }: OutputFile) => large.filter((file) => file.bytes === bytes).length === 1;
  return large.filter(isAlone).flatMap((file) => {
    const [path, ...others] = stored.get(file.bytes) ?? [];
    return path && others.length === 0 ? [{ file, stored: path }] : [];
  });
}

/** Whether a file of the browser's is a result's, as far as the page's bytes tell at places that are drawn for it. */
async function isSame({ file: { path, bytes }, stored }: StoredFile, sample: SampleOfPage): Promise<boolean> {
  const places = samplePlaces(bytes);
  const hash = createHash("sha256");
  const file = await open(stored);
  const read = async () => {
    for (const start of places.starts) {
      const { buffer, bytesRead } = await file.read({ length: places.pieceBytes, position: start });
      hash.update(buffer.subarray(0, bytesRead));
    }
  };
  await endedBy(read, async () => await file.close());
  return (await sample(path, places)) === hash.digest("hex");
}

/** Gives a file a second name, with the rights that a new one has; false on another file system, or one that has no such names. */
async function linkAs(stored: string, target: string): Promise<boolean> {
  await mkdir(dirname(target), { recursive: true });
  await rm(target, { force: true });
  await writeFile(target, "");
  const { mode } = await stat(target);
  await rm(target);
  try {
    await link(stored, target);
  } catch {
    return false;
  }
  await chmod(target, mode);
  return true;
}
