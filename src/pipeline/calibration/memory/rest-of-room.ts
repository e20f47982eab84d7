// What a job does with memory that nothing else has a use for, results' bytes least of all: two layers at once, weights that stay
// where modifiers look for factors, weights of the next layer, and rings that keep up with what two layers bring and take.

import { readbackRingBytes } from "../../../gpu/staging/readback-ring.ts";
import { ringBytes } from "../../../gpu/staging/ring-pieces.ts";
import { deepRings } from "../fit/batches-at-work.ts";
import type { CalibrationShape, GpuLimits } from "../costs/calibration-memory.ts";
import type { PeakGrowth } from "../fit/calibration-plan.ts";
import type { FittedLayer } from "../fit/fit-layer.ts";
import type { LayerSchedule } from "../fit/layer-schedule.ts";

/**
 * @param peak of the layers without any of it
 * @param layers their schedules: weights that come at once for each run of the samples do not come ahead
 */
export function growthOf(
  fitted: readonly FittedLayer[],
  peak: number,
  layers: readonly LayerSchedule[],
): PeakGrowth {
  const staying = Math.max(...fitted.map((layer) => layer.stayingPeak).filter(Number.isFinite));
  const weights = fitted.map(({ held }) => held.propagate);
  const grown = (bytes: number) => Math.max(bytes - peak, 0);
  const stays = (bytes: number) => (Number.isFinite(staying) ? grown(bytes) : Infinity);
  return {
    beside: grown(peakSideBySide(fitted)),
    staying: stays(staying),
    both: stays(peakSideBySide(fitted, staying)),
    ahead: layers.every(({ overlap }, index) => overlap || fitted[index]?.isHead)
      ? Math.max(...weights)
      : Infinity,
  };
}

/** Where there is no room for two layers outside of the GPU. */
export function oneByOne(grows: PeakGrowth): PeakGrowth {
  return { ...grows, beside: Infinity, both: Infinity };
}

/** Infinite if samples do not leave a layer before it is quantized. */
function peakSideBySide(fitted: readonly FittedLayer[], staying = 0): number {
  const most = Math.max(staying, ...fitted.map(({ besidePeak }) => besidePeak));
  return most + Math.max(...fitted.map(({ aheadBytes }) => aheadBytes ?? most));
}

/** What stands beside a plan, and so much of it for each layer at work. */
interface BesidePlan {
  readonly bytes: number;
  readonly collected: number;
}

interface GrowingPlan {
  readonly layers: readonly LayerSchedule[];
  readonly peakBytes: number;
  readonly grows: PeakGrowth;
  readonly shape: CalibrationShape;
}

/** The plan with as much as there is room for, two layers at once before weights that stay. */
export function useRest<Plan extends GrowingPlan>(
  plan: Plan,
  { bytes: asideBytes, collected }: BesidePlan,
  { budgetBytes, sideBySide: mayBeTwo = false }: GpuLimits,
): Plan & { readonly sideBySide: boolean; readonly bringsAhead: boolean } {
  const { beside, staying, both, ahead } = plan.grows;
  const two = mayBeTwo ? collected : Infinity;
  const ways = [
    { sideBySide: true, stays: true, bytes: both + two },
    { sideBySide: true, stays: false, bytes: beside + two },
    { sideBySide: false, stays: true, bytes: staying },
    { sideBySide: false, stays: false, bytes: 0 },
  ];
  const fits = ({ bytes }: (typeof ways)[number]) => asideBytes + plan.peakBytes + bytes <= budgetBytes;
  const { sideBySide = false, stays = false, bytes = 0 } = ways.find(fits) ?? {};
  const layers = stays ? plan.layers : plan.layers.map((layer) => ({ ...layer, staysRewriting: false }));
  const bringsAhead = asideBytes + plan.peakBytes + bytes + ahead <= budgetBytes;
  const peakBytes = plan.peakBytes + bytes + (bringsAhead ? ahead : 0);
  const used = { ...plan, layers, sideBySide, bringsAhead, peakBytes };
  return mayBeTwo ? withRoomyRings(used, budgetBytes - asideBytes) : used;
}

/**
 * The plan with the deepest rings that fit. What is brought while samples run waits for all that the GPU was given before it, piece by
 * piece, and so do sums of shares.
 */
function withRoomyRings<Plan extends GrowingPlan>(plan: Plan, mostBytes: number): Plan {
  const free = mostBytes - plan.peakBytes;
  const own = bytesOfRings(plan.shape);
  const rings = deepRings(plan.shape).find((deep) => bytesOfRings(deep) - own <= free);
  const more = rings ? bytesOfRings(rings) - own : 0;
  return more > 0 ? { ...plan, shape: { ...plan.shape, ...rings }, peakBytes: plan.peakBytes + more } : plan;
}

function bytesOfRings({ ring, readbackRing }: Pick<CalibrationShape, "ring" | "readbackRing">): number {
  return ringBytes(ring) + readbackRingBytes(readbackRing);
}
