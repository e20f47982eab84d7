// When hidden states are worth writing to disk. On a fast GPU writing all samples' states takes as long as a layer, and
// wears the disk by gigabytes a layer; on a slow one a layer takes minutes, and losing one hurts.

import type { HiddenPlace } from "../../calibrate/hidden-states.ts";

/** What OPFS takes on a slow disk. */
const BYTES_PER_SECOND = 200_000_000;
/** Writing takes at most about one part in so many of the time. */
const WORK_PER_WRITE = 8;

export interface SnapshotClock {
  /** True if as much work was done since the last snapshot as another one is worth. */
  due(): boolean;
  /** A snapshot was written. */
  restart(): void;
}

/** @param now milliseconds. States that wait in a file anyway are always due. */
export function createSnapshotClock(
  bytes: number,
  place: HiddenPlace,
  now: () => number = () => performance.now(),
): SnapshotClock {
  const interval = (WORK_PER_WRITE * 1000 * bytes) / BYTES_PER_SECOND;
  let since = now();
  return {
    due: () => place === "file" || now() - since >= interval,
    restart() {
      since = now();
    },
  };
}
