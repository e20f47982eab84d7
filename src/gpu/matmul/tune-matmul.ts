// Which product kernel a GPU likes: measured once for each adapter, in a few milliseconds, before the first large job.

import type { Gpu } from "../gpu.ts";
import { matmul, type MatmulTile } from "./matmul.ts";

/** Large enough to fill a data centre's GPU (256 large tiles), small enough for a phone: 2 · 2048 · 2048 · 512 flops. */
const SIZE = 2048;
const DEPTH = 512;
/** GPU bytes that the measurement takes for its while. */
const BYTES = SIZE * DEPTH * 4 + SIZE * SIZE * 4;
/** The second run is the one that counts: the first compiles and wakes the GPU. */
const RUNS = 3;

const known = new Map<string, boolean>();

/** Sets `gpu.tuning.largeProducts`. Either kernel gives the same bits, so a resumed job may choose the other one. */
export async function tuneMatmul(gpu: Gpu): Promise<void> {
  const { vendor, architecture, description, software } = gpu.adapter;
  if (software || gpu.memory.freeBytes < BYTES) return;
  const key = [vendor, architecture, description].join("/");
  const before = known.get(key);
  const faster = before ?? (await isLargeFaster(gpu));
  known.set(key, faster);
  gpu.tuning.largeProducts = faster;
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
