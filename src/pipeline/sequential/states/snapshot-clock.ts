// When hidden states are worth writing to disk. On a fast GPU writing all samples' states takes as long as a layer, and
// wears the disk by gigabytes a layer; on a slow one a layer takes minutes, and losing one hurts.

import type { HiddenPlace } from "../../../calibrate/hidden-states.ts";

/** What OPFS takes on a slow disk; tests change it, whose operations must not depend on how fast layers are. */
export const snapshotPace = { bytesPerSecond: 200_000_000 };
/** Writing takes at most about one part in so many of the time. */
const WORK_PER_WRITE = 8;

export interface SnapshotClock {
  /**
   * True if the states in front of layer `generation` are to be written: they have to be, or as much work was done since the
   * last snapshot as another one is worth. Two files take turns by generation, and the last snapshot must outlive the next
   * one's writing: it is never of a generation that shares its file.
   */
  due(generation: number): boolean;
  /** The snapshot in front of layer `generation` was written. */
  restart(generation: number): void;
}

export interface Snapshots {
  readonly bytes: number;
  /** States that wait in a file anyway are always due. */
  readonly place: HiddenPlace;
  /** The layer whose states the job begins with. */
  readonly generation: number;
  /** True if the states in front of this layer have to be written, whatever it costs. */
  readonly isWanted: (generation: number) => boolean;
}

/** @param now milliseconds of a clock that stands still while the job is paused */
export function createSnapshotClock(
  { bytes, place, generation: first, isWanted }: Snapshots,
  now: () => number,
): SnapshotClock {
  const interval = (WORK_PER_WRITE * 1000 * bytes) / snapshotPace.bytesPerSecond;
  let since = now();
  let last = first;
  return {
    due(generation) {
      if (place === "file" || isWanted(generation)) return true;
      const usesOtherFile = (generation - last) % 2 === 1;
      // Wanted next, in the file that the last snapshot would then be in: this one goes before it.
      return usesOtherFile && (isWanted(generation + 1) || now() - since >= interval);
    },
    restart(generation) {
      since = now();
      last = generation;
    },
  };
}
