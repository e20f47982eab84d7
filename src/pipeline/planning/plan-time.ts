// How long a job will take, step by step: what streams goes at the rate of network and disk, what calibrates at that of the
// GPU. The network brings a layer while another one is computed, so that the slower of the two counts.

import type { GpuSpeed } from "../../api/compressor-api.ts";
import type { LayerWork } from "../calibration/costs/calibration-work.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import type { RemoteSource } from "../inspect/remote-source.ts";
import type { SourceProgress } from "../../api/source-api.ts";

/** Bytes per second that are assumed before anything was measured: a common home connection. */
const ASSUMED_NETWORK_RATE = 30e6;
/** What IndexedDB takes on a common disk; nothing in the path is slower once the network is fast. */
const ASSUMED_STORAGE_RATE = 300e6;

export interface PlannedTime {
  /** Seconds that a byte of the source takes from the server to its place in the result. */
  readonly secondsPerByte: number;
  /** Seconds of the steps that only stream. */
  readonly streaming: number;
  /** Seconds of each calibrated step by phase, by the step's index. */
  readonly layers: ReadonlyMap<number, LayerWork>;
}

/** What the time of a job depends on beside its plan. */
export interface PlannedRates {
  readonly downloadBytes: number;
  readonly network: Pick<SourceProgress, "bytesPerSecond">;
  readonly gpu: GpuSpeed;
}

type TimedPlan = Pick<CompressionPlan, "sourceBytes"> & {
  readonly steps: readonly Pick<CompressionPlan["steps"][number], "index" | "bytes" | "calibrated">[];
};

export function planTime(plan: TimedPlan, { downloadBytes, network, gpu }: PlannedRates): PlannedTime {
  const transfer = Math.max(
    downloadBytes / (network.bytesPerSecond || ASSUMED_NETWORK_RATE),
    plan.sourceBytes / ASSUMED_STORAGE_RATE,
  );
  const secondsPerByte = plan.sourceBytes > 0 ? transfer / plan.sourceBytes : 0;
  const layers = new Map<number, LayerWork>();
  let streaming = 0;
  for (const { index, bytes, calibrated } of plan.steps) {
    if (calibrated) layers.set(index, inSeconds(calibrated.work, gpu.flopsPerSecond, bytes * secondsPerByte));
    else streaming += bytes * secondsPerByte;
  }
  return { secondsPerByte, streaming, layers };
}

/** Bytes of the plan that have still to come over the network; those of dropped files need not. */
export async function missingBytes(
  model: Pick<OpenModel, "source">,
  plan: Pick<CompressionPlan, "steps">,
  source: Pick<RemoteSource, "missingBytes">,
): Promise<number> {
  return model.source.host === null
    ? 0
    : await source.missingBytes(plan.steps.flatMap(({ ranges }) => ranges));
}

export function totalSeconds({ streaming, layers }: PlannedTime): number {
  return [...layers.values()].reduce((sum, layer) => sum + sumOfPhases(layer), streaming);
}

export function totalFlops({ steps }: TimedPlan): number {
  return steps.reduce((sum, { calibrated }) => sum + (calibrated ? sumOfPhases(calibrated.work) : 0), 0);
}

export function sumOfPhases({ calibrating, quantizing, propagating }: LayerWork): number {
  return calibrating + quantizing + propagating;
}

/** A layer that comes more slowly than it is computed takes as long as it comes. */
function inSeconds(work: LayerWork, flopsPerSecond: number, transferSeconds: number): LayerWork {
  const seconds = Math.max(sumOfPhases(work) / flopsPerSecond, transferSeconds);
  const scale = sumOfPhases(work) > 0 ? seconds / sumOfPhases(work) : 0;
  return {
    calibrating: work.calibrating * scale,
    quantizing: work.quantizing * scale,
    propagating: work.propagating * scale,
  };
}
