// A source with files that no folder has: tensors that are made of others while they are read.

import { mergeRanges, type FileRange } from "../../formats/files/file-ranges.ts";
import type { RemoteSource } from "./remote-source.ts";

export type ReadRange = (range: FileRange) => Promise<Uint8Array<ArrayBuffer>>;

export interface DerivedFiles {
  isDerived(path: string): boolean;
  /** Where what a derived file is made of really lies. */
  partsOf(path: string): readonly FileRange[];
  /** A range of a derived file, by reading what it is made of. */
  read(range: FileRange, read: ReadRange): Promise<Uint8Array<ArrayBuffer>>;
  /** What no tensor is made of: chunks with it are done with as soon as all else in them is. */
  readonly unread?: readonly FileRange[];
}

/** The source with derived files beside its own. */
export function derivedSource(source: RemoteSource, files: DerivedFiles): RemoteSource {
  const stored = (ranges: readonly FileRange[], more: readonly FileRange[] = []) => {
    const own = ranges.filter(({ start, end }) => end > start);
    const parts = own.flatMap((range) => (files.isDerived(range.path) ? files.partsOf(range.path) : [range]));
    return mergeRanges([...parts, ...more]);
  };
  return {
    ...source,
    read: async (range, spare) =>
      files.isDerived(range.path)
        ? await files.read(range, async (of) => await source.read(of))
        : await source.read(range, spare),
    // Parts of derived files belong to several of their ranges: they are done with when they are evicted.
    take: async (range, spare) =>
      files.isDerived(range.path)
        ? await files.read(range, async (of) => await source.read(of))
        : await source.take(range, spare),
    readRange: async (range) => {
      const read: ReadRange = async (of) => await source.readRange(of);
      return files.isDerived(range.path) ? await files.read(range, read) : await read(range);
    },
    prefetch: async (ranges: readonly FileRange[]) => await source.prefetch(inOrder(files, ranges)),
    use: async (range: FileRange) => {
      if (!files.isDerived(range.path)) await source.use(range);
    },
    evict: async (ranges: readonly FileRange[]) => await source.evict(stored(ranges, files.unread)),
    missingBytes: async (ranges: readonly FileRange[]) => await source.missingBytes(stored(ranges)),
  };
}

/** Ranges in the order in which they are wanted, each once. */
function inOrder(files: DerivedFiles, ranges: readonly FileRange[]): FileRange[] {
  const parts = ranges.flatMap((range) =>
    files.isDerived(range.path) ? files.partsOf(range.path) : [range],
  );
  const known = new Map(parts.map((range) => [`${range.path} ${range.start} ${range.end}`, range]));
  return [...known.values()];
}
