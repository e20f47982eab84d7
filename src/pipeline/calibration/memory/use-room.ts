// What is left beside the layers goes to weights that stay on the GPU from pass to pass, and to a second batch at work.

import type { PeakGrowth } from "../fit/calibration-plan.ts";
import { findRoom } from "../fit/batches-at-work.ts";
import type { FittedLayer } from "../fit/fit-layer.ts";
import type { BatchesAtWork, LayerSchedule } from "../fit/layer-schedule.ts";
import { growthOf } from "./rest-of-room.ts";

interface UsedRoom {
  readonly layers: LayerSchedule[];
  readonly atWork: BatchesAtWork;
  readonly grows: PeakGrowth;
  readonly peak: number;
}

/** Bytes beside the job's own and its hidden states; `secondBytes` is infinite where a second batch is not worth its room. */
interface Room {
  readonly bytes: number;
  readonly secondBytes: number;
}

/** Gives what nothing else has a use for to weights that stay, and to a second batch at work. */
export function useRoom(fitted: readonly FittedLayer[], least: number, room: Room): UsedRoom {
  let peak = least;
  const layers = fitted.map((layer): LayerSchedule => {
    const { passes, overlapPeak, settled } = layer;
    const overlap = overlapPeak !== null && overlapPeak <= room.bytes;
    const settles = !overlap && settled !== null && settled.peak <= room.bytes;
    peak = Math.max(peak, overlap ? overlapPeak : 0, settles ? settled.peak : 0);
    const staysRewriting = Number.isFinite(layer.stayingPeak);
    return { ...passes, overlap, staysRewriting, settling: settles ? settled.schedule : null };
  });
  const beside = room.bytes - room.secondBytes;
  const grows = growthOf(fitted, peak, layers);
  if (peak <= beside) return { layers, atWork: 2, grows, peak: peak + room.secondBytes };
  const own = layers.map((schedule, index) => {
    const held = fitted[index]?.held;
    // Weights that stay are counted with what is quantized beside them.
    if (schedule.overlap || !held) return schedule;
    const found = findRoom(held, beside);
    if (found.peak > 0) peak = Math.max(peak, found.peak + room.secondBytes);
    return { ...schedule, atWork: found.atWork };
  });
  return { layers: own, atWork: 1, grows, peak };
}

/** What layers hold while samples are propagated, and the second batch that is at work then. */
export function propagatingBytes(
  fitted: readonly FittedLayer[],
  { layers, atWork }: Pick<UsedRoom, "layers" | "atWork">,
  secondBytes: number,
): number {
  const held = fitted.map(({ held: own, propagatesWhole }) => (propagatesWhole ? own.propagate : Infinity));
  const isTwo = Math.max(atWork, ...layers.map((layer) => layer.atWork.propagate)) > 1;
  return Math.max(...held) + (isTwo ? secondBytes : 0);
}
