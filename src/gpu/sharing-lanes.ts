import type { Gpu } from "./gpu.ts";

/** What a processor runs side by side. */
const SOFTWARE_LANES = 4;

/**
 * Invocations that share what is reduced between barriers: so many on a GPU. A processor runs more than four of them one four after the other
 * from barrier to barrier: SwiftShader takes 5.7 times as long for AWQ's cells of 128 with 64.
 */
export function sharingLanes({ adapter }: Pick<Gpu, "adapter">, onGpu: number): number {
  return adapter.software ? SOFTWARE_LANES : onGpu;
}
