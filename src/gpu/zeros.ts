// Buffers that are summed up in.

import { madeOf } from "../disposal.ts";
import type { Gpu } from "./gpu.ts";
import type { BufferRequest, LedgerBuffer } from "./memory.ts";

/**
 * Allocates buffers, all or none, and sets them to zero in order with the dispatches.
 * @throws DeviceLimitError if they do not fit
 */
export async function allocateZeros(gpu: Gpu, requests: readonly BufferRequest[]): Promise<LedgerBuffer[]> {
  return await madeOf(async (parts) => {
    const zeros: LedgerBuffer[] = parts.useEach(await gpu.memory.allocateAll(requests));
    for (const buffer of zeros) await gpu.queue.clear(buffer);
    return zeros;
  });
}
