// How far the tiles of a step have been read. What is only copied lies between them in the file: read at once, a norm of some kilobytes at
// a layer's end would fetch the chunks around it before those that tiles are waiting for, and fill the memory that is there for these.

import type { FileRange } from "../../formats/files/file-ranges.ts";

type Place = Pick<FileRange, "path" | "start">;

export interface ReadingFront {
  /** Watches where tiles are read. */
  watch<Read>(read: (range: FileRange) => Read): (range: FileRange) => Read;
  /** No more tiles are read. */
  end(): void;
  /** Resolves when a tile is read that lies behind, or none will be. */
  passes(place: Place): Promise<void>;
}

export function createReadingFront(): ReadingFront {
  let reached: Place | null = null;
  let ended = false;
  let waiting: { readonly place: Place; readonly go: () => void }[] = [];
  const isPassed = (place: Place) => ended || (reached !== null && !isBefore(reached, place));
  const tell = () => {
    for (const { go } of waiting.filter(({ place }) => isPassed(place))) go();
    waiting = waiting.filter(({ place }) => !isPassed(place));
  };
  return {
    watch: (read) => (range) => {
      if (!reached || isBefore(reached, range)) reached = range;
      const reading = read(range);
      tell();
      return reading;
    },
    end() {
      ended = true;
      tell();
    },
    async passes(place) {
      if (!isPassed(place)) await new Promise<void>((go) => waiting.push({ place, go }));
    },
  };
}

/** Shards of a model lie one behind the other by their names. */
function isBefore(one: Place, other: Place): boolean {
  return one.path < other.path || (one.path === other.path && one.start < other.start);
}
