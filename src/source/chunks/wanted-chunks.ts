// Which chunks are to be fetched, and in which order: what a read waits for, then what was announced.

import { type Chunk, chunkId } from "./chunks.ts";

type Test = (chunk: Chunk) => boolean;

export interface WantedChunks {
  /** In the order in which they will be read. */
  readonly announced: readonly Chunk[];
  /** Replaces what was announced. */
  announce(chunks: Iterable<Chunk>): void;
  /** These are not fetched ahead any more. */
  forget(chunks: readonly Chunk[]): void;
  /** A read waits for the chunk. */
  urge(chunk: Chunk): void;
  /** No read does any more. */
  calm(id: string): void;
  /** The first that a read waits for. */
  urgent(isMissing: Test): Chunk | undefined;
  /** The first that was announced. */
  next(isMissing: Test): Chunk | undefined;
  /** The chunk and those that follow it in the file and in the order of need, so many at most: one request. */
  adjoining(first: Chunk, most: number, isMissing: Test): readonly Chunk[];
  /** True if any of these is wanted. */
  wants(chunks: readonly Chunk[]): boolean;
}

export function createWantedChunks(): WantedChunks {
  let announced: readonly Chunk[] = [];
  const urgent = new Map<string, Chunk>();
  return {
    get announced() {
      return announced;
    },
    announce(chunks) {
      announced = [...new Map(Array.from(chunks, (chunk) => [chunkId(chunk), chunk])).values()];
    },
    forget(chunks) {
      const ids = new Set(chunks.map(chunkId));
      announced = announced.filter((chunk) => !ids.has(chunkId(chunk)));
    },
    urge: (chunk) => void urgent.set(chunkId(chunk), chunk),
    calm: (id) => void urgent.delete(id),
    urgent: (isMissing) => [...urgent.values()].find(isMissing),
    next: (isMissing) => announced.find(isMissing),
    adjoining(first, most, isMissing) {
      const lists = [announced, [...urgent.values()]];
      const list = lists.find((chunks) => chunks.some(isSame(first))) ?? [];
      return adjoiningChunks(first, list, most, isMissing);
    },
    wants: (chunks) => chunks.some((chunk) => urgent.has(chunkId(chunk)) || announced.some(isSame(chunk))),
  };
}

function isSame(wanted: Chunk): (chunk: Chunk) => boolean {
  return ({ path, index }) => path === wanted.path && index === wanted.index;
}

/** The chunk and those that follow it both in the file and in the list, at most so many, up to one that is not missing. */
function adjoiningChunks(
  first: Chunk,
  list: readonly Chunk[],
  most: number,
  isMissing: (chunk: Chunk) => boolean,
): Chunk[] {
  const run: Chunk[] = [];
  for (const chunk of list.slice(list.findIndex(isSame(first)))) {
    const follows = chunk.path === first.path && chunk.index === first.index + run.length;
    if (!follows || !isMissing(chunk) || run.length === most) break;
    run.push(chunk);
  }
  return run;
}
