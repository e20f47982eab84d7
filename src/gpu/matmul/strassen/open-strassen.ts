// Strassen's products for a job's forward passes: where its plan has room for them, and they are faster.

import type { Gpu } from "../../gpu.ts";
import { createStrassenScratch, type StrassenScratch, type StrassenSize } from "./strassen-size.ts";
import { isStrassenFaster } from "./tune-strassen.ts";

/** What a plan has room for. */
export interface StrassenPlace extends StrassenSize {
  /** False if there is room for a while alone. */
  readonly stays: boolean;
}

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

/**
 * Sets `gpu.tuning.strassen`, or `lentStrassen` where it does not stay, or neither. Disposing the result frees what it holds.
 * @param place null where the plan has none
 * @param anyway takes them whether they are faster or not
 */
export async function openStrassen(
  gpu: Gpu,
  place: StrassenPlace | null,
  anyway = false,
): Promise<Disposable> {
  if (!place || !(anyway || (await isStrassenFaster(gpu)))) return NOTHING;
  if (place.stays) return hold(gpu, await createStrassenScratch(gpu.memory, place));
  gpu.tuning.lentStrassen = place;
  return {
    [Symbol.dispose]() {
      gpu.tuning.lentStrassen = null;
    },
  };
}

/** Sets `gpu.tuning.strassen` for a while, where `openStrassen` has left that to others. */
export async function lendStrassen(gpu: Gpu): Promise<Disposable> {
  const { lentStrassen } = gpu.tuning;
  if (!lentStrassen) return NOTHING;
  return hold(gpu, await createStrassenScratch(gpu.memory, lentStrassen));
}

function hold(gpu: Gpu, scratch: StrassenScratch & Disposable): Disposable {
  gpu.tuning.strassen = scratch;
  return {
    [Symbol.dispose]() {
      gpu.tuning.strassen = null;
      scratch[Symbol.dispose]();
    },
  };
}
