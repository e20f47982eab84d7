// What will not be read again of a model: a chunk is done with when all of it is.

import { type FileRange, mergeRanges } from "../../formats/files/file-ranges.ts";
import { type Chunk, coveredChunks } from "./chunks.ts";

export interface UsedRanges {
  add(range: FileRange): void;
  /** The chunks of these of which nothing will be read again. */
  covered(chunks: readonly Chunk[]): Chunk[];
  clear(): void;
}

/** Starts with nothing used. */
export function createUsedRanges(): UsedRanges {
  let used: readonly FileRange[] = [];
  return {
    add(range) {
      used = mergeRanges([...used, range]);
    },
    covered: (chunks) => coveredChunks(chunks, used),
    clear() {
      used = [];
    },
  };
}
