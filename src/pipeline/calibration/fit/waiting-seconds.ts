// What a second batch at work is worth: without one, hidden states come and go while nothing is computed.

import type { BatchesAtWork, LayerSchedule } from "./layer-schedule.ts";
import type { CalibrationShape } from "../costs/calibration-memory.ts";
import { uploadRate } from "../costs/layer-seconds.ts";

/**
 * Seconds that the GPU has nothing to do while hidden states come to it or go: where no second batch is at work.
 * @param bytes of one generation of states
 */
export function waitingSeconds(
  layers: readonly Pick<LayerSchedule, "atWork" | "leaves">[],
  always: BatchesAtWork,
  bytes: number,
  { ring }: Pick<CalibrationShape, "ring">,
): number {
  if (always > 1) return 0;
  const generations = layers.map(({ atWork, leaves }) => {
    const coming = atWork.calibrate.filter((batches) => batches === 1).length;
    // Those that leave in the last pass that collects go as well, and none are propagated.
    if (leaves) return coming + Number(atWork.calibrate.at(-1) === 1);
    return coming + (atWork.propagate === 1 ? 2 : 0);
  });
  const moved = bytes * generations.reduce((sum, count) => sum + count, 0);
  return moved / uploadRate(ring.pieceBytes);
}
