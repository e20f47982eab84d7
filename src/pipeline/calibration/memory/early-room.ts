// Room for some of the next layer's weights while samples are propagated through a layer whose weights do not stay: Hessians are gone then.

import { type RingSize, ringBytes } from "../../../gpu/staging/ring-pieces.ts";
import { linearsBeforeOutput } from "../../../model/layer-linears.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { divideLinears, residentBytes } from "../../../onload/residency.ts";
import type { CalibratedLayer } from "../layers/calibrated-layer.ts";
import type { CalibrationShape } from "../costs/calibration-memory.ts";
import type { CalibrationPlan } from "../fit/calibration-plan.ts";
import type { LayerSchedule } from "../fit/layer-schedule.ts";
import { lentBytes } from "./strassen-room.ts";

/** What weights come through then: pieces of their own, so that states do not wait for them. */
export function earlyRing({ ring }: Pick<CalibrationShape, "ring">): RingSize {
  return { pieceBytes: ring.pieceBytes, pieces: 2 };
}

/** Bytes that weights may take then: what is free below the peak that the job has anyway. */
export function earlyBytes(
  plan: Pick<
    CalibrationPlan,
    "peakBytes" | "propagatingBytes" | "strassen" | "shape" | "sideBySide" | "bringsAhead"
  >,
): number {
  if (plan.sideBySide || plan.bringsAhead) return 0;
  const taken = plan.propagatingBytes + lentBytes(plan.strassen) + ringBytes(earlyRing(plan.shape));
  return Math.max(plan.peakBytes - taken, 0);
}

export interface ComingLayer {
  readonly layer: Pick<CalibratedLayer, "description" | "linears" | "dtypeOf" | "rewritings">;
  readonly schedule: Pick<LayerSchedule, "overlap" | "residency">;
  /** Not null where samples only run through it. */
  readonly passed: object | null;
}

/**
 * The weights of a layer that come early, of those that its samples run through first: the largest that there is room for. Small ones come
 * when all do: together they take less than one by one.
 */
export function earlyLinears(
  { layer, schedule, passed }: ComingLayer,
  { shape, earlyBytes: freeBytes }: Pick<CalibrationPlan, "shape" | "earlyBytes">,
  maxBufferBytes: number,
): Linear[] {
  if (layer.rewritings.length > 0) return [];
  const { calibrate, propagate } = schedule.residency;
  const isWhole = schedule.overlap || passed !== null;
  const linears = isWhole ? layer.linears : linearsBeforeOutput(layer.description);
  const residency = isWhole ? propagate : (calibrate[0] ?? propagate);
  const { resident } = divideLinears(linears, layer.dtypeOf, residency, maxBufferBytes);
  const sized = resident.map((linear) => ({
    linear,
    bytes: residentBytes([linear], layer.dtypeOf, maxBufferBytes),
  }));
  let taken = 0;
  const coming = sized
    .toSorted((a, b) => b.bytes - a.bytes)
    .filter(({ bytes }) => {
      if (bytes <= shape.ring.pieceBytes || taken + bytes > freeBytes) return false;
      taken += bytes;
      return true;
    });
  return coming.map(({ linear }) => linear);
}
