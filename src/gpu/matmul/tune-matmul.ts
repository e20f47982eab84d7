// Which product kernel a GPU likes: measured the first time that an adapter is seen, before the first large job, and kept
// in IndexedDB until the last job is deleted.

import type { Gpu } from "../gpu.ts";
import { keepTuning, readTuning } from "../tuning-store.ts";
import { matmul, type MatmulTile } from "./matmul.ts";

/** Large enough to fill a data centre's GPU (256 large tiles), small enough for a phone: 2 · 2048 · 2048 · 512 flops. */
const SIZE = 2048;
const DEPTH = 512;
/** GPU bytes that the measurement takes for its while. */
const BYTES = SIZE * DEPTH * 4 + SIZE * SIZE * 4;
/** The second run is the one that counts: the first compiles and wakes the GPU. */
const RUNS = 3;
/** To be raised with every change to a product kernel: what was measured of another one counts no more. */
const KERNELS_VERSION = 1;

/**
 * Sets `gpu.tuning.largeProducts`. Either kernel gives the same bits, so a resumed job may choose the other one.
 * @param measure tells whether large products are faster with large tiles
 */
export async function tuneMatmul(gpu: Gpu, measure = isLargeFaster): Promise<void> {
  if (gpu.adapter.software || gpu.memory.freeBytes < BYTES) return;
  const before = await readTuning<boolean>(gpu.adapter, KERNELS_VERSION);
  gpu.tuning.largeProducts = before ?? (await measure(gpu));
  if (before === undefined) await keepTuning(gpu.adapter, KERNELS_VERSION, gpu.tuning.largeProducts);
}

async function isLargeFaster(gpu: Gpu): Promise<boolean> {
  const [operand, result] = await gpu.memory.allocateAll([
    { label: "tuning operands", bytes: SIZE * DEPTH * 4 },
    { label: "tuning result", bytes: SIZE * SIZE * 4 },
  ]);
  try {
    const side = { buffer: operand, stride: DEPTH };
    const shape = { m: SIZE, n: SIZE, k: DEPTH, a: side, b: side, c: { buffer: result, stride: SIZE } };
    const time = async (tile: MatmulTile) => {
      await gpu.queue.idle();
      const busy = gpu.queue.busyMs;
      // Several at once: browsers round the GPU's clock to a tenth of a millisecond.
      for (let run = 0; run < RUNS; run++) await matmul(gpu, shape, tile);
      await gpu.queue.idle();
      return gpu.queue.busyMs - busy;
    };
    for (const tile of ["small", "large"] as const) await time(tile);
    return (await time("large")) < (await time("small"));
  } finally {
    operand[Symbol.dispose]();
    result[Symbol.dispose]();
  }
}
