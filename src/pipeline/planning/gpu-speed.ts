// How fast this GPU calibrates: measured by jobs, kept for the next plan's estimate of time.

import type { AdapterSummary } from "../../gpu/device/adapter-summary.ts";
import { keepTuning, readTuning } from "../../gpu/device/tuning-store.ts";
import type { GpuSpeed } from "../../api/compressor-api.ts";

/** Assumed before a job was measured: an integrated GPU's. */
const ASSUMED_FLOPS_PER_SECOND = 2e12;
/** The same of a software adapter, which takes all cores: on two of them it made 1.5 GFLOP/s in a job with GPTQ, and 1.9 in one with AWQ. */
const ASSUMED_SOFTWARE_FLOPS_PER_CORE = 8e8;
/** A layer that took less says more of what surrounds the kernels than of the kernels. */
const MIN_MEASURED_SECONDS = 1;
const NAME = "flops per second";

export async function gpuSpeed(adapter: AdapterSummary): Promise<GpuSpeed> {
  const known = await readTuning<number>(adapter, NAME);
  if (known !== undefined && Number.isFinite(known) && known > 0)
    return { flopsPerSecond: known, measured: true };
  const software = ASSUMED_SOFTWARE_FLOPS_PER_CORE * navigator.hardwareConcurrency;
  return { flopsPerSecond: adapter.software ? software : ASSUMED_FLOPS_PER_SECOND, measured: false };
}

/** Remembers what a layer showed, if it took long enough to show anything. */
export async function keepGpuSpeed(adapter: AdapterSummary, flops: number, seconds: number): Promise<void> {
  if (seconds >= MIN_MEASURED_SECONDS && flops > 0) await keepTuning(adapter, NAME, flops / seconds);
}
