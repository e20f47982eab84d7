// Where hidden states wait off the GPU: room for a second batch of them, and for rings that keep up with what is computed.

import type { CalibrationShape } from "../costs/calibration-memory.ts";
import type { BatchesAtWork, LayerSchedule } from "./layer-schedule.ts";

/** Pieces of rings, the deepest first: each piece waits for what the GPU was given before it, and in that time a batch of states has to pass. */
const PIECES = [
  { uploads: 8, readbacks: 6 },
  { uploads: 4, readbacks: 4 },
  { uploads: 4, readbacks: 3 },
  { uploads: 3, readbacks: 3 },
] as const;

type Rings = Pick<CalibrationShape, "ring" | "readbackRing">;

/** Rings of so many pieces that transfers wait less for one another, the deepest first. */
export function deepRings({ ring: { pieceBytes } }: CalibrationShape): Rings[] {
  return PIECES.map(({ uploads, readbacks }) => ({
    ring: { pieceBytes, pieces: uploads },
    readbackRing: { pieceBytes, pieces: readbacks },
  }));
}

/** What a layer holds while samples run through it, beside what lives through the whole job. */
export interface HeldBytes {
  /** In each pass. */
  readonly calibrate: readonly number[];
  readonly propagate: number;
}

/**
 * Finds where a second batch is at work.
 * @param room what a layer may hold beside it
 * @returns what is held beside it at the worst, too; 0 where there is none
 */
export function findRoom(
  { calibrate, propagate }: HeldBytes,
  room: number,
): Pick<LayerSchedule, "atWork"> & { readonly peak: number } {
  const beside = [...calibrate, propagate].filter((bytes) => bytes <= room);
  const batches = (bytes: number): BatchesAtWork => (bytes <= room ? 2 : 1);
  return {
    atWork: { calibrate: calibrate.map(batches), propagate: batches(propagate) },
    peak: Math.max(0, ...beside),
  };
}

interface Scheduled {
  readonly layers: readonly LayerSchedule[];
  /** Where states wait, and how many batches are at work in all phases. */
  readonly hidden: { readonly atWork: BatchesAtWork };
}

/** True if layers go through the GPU in the same way, whatever the size of tiles and whatever is brought ahead. */
export function isScheduledAlike(one: Scheduled, other: Scheduled): boolean {
  const scheduleOf = ({ layers, hidden: { atWork: always, ...hidden } }: Scheduled) =>
    JSON.stringify([
      hidden,
      layers.map(({ resident, overlap, settling, atWork: { calibrate, propagate } }) => [
        resident,
        overlap,
        settling !== null,
        [...calibrate, propagate].map((batches) => Math.max(batches, always)),
      ]),
    ]);
  return scheduleOf(one) === scheduleOf(other);
}
