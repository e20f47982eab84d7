// Which product kernels a GPU likes: measured the first time that an adapter is seen, before the first large job, and kept in
// IndexedDB until the last job is deleted.

import type { Gpu } from "../gpu.ts";
import type { LedgerBuffer } from "../memory.ts";
import { keepTuning, readTuning } from "../tuning-store.ts";
import { matmul, type MatmulTile } from "./matmul.ts";
import { matmulHalves } from "./matmul-halves.ts";
import type { MatrixUnits } from "../tuning.ts";

/** Large enough to fill a data centre's GPU (256 large tiles), small enough for a phone: 2 · 2048 · 2048 · 512 flops. */
const SIZE = 2048;
const DEPTH = 512;
/** GPU bytes that the measurement takes for its while. */
const BYTES = SIZE * DEPTH * 4 + SIZE * SIZE * 4;
/** The second run is the one that counts: the first compiles and wakes the GPU. */
const RUNS = 3;
/** To be raised with every change to a product kernel: what was measured of another one counts no more. */
const KERNELS_VERSION = 1;
const HALVES_VERSION = "halves 1";

/**
 * Sets `gpu.tuning.largeProducts`. Either kernel gives the same bits, so a resumed job may choose the other one.
 * @param measure tells whether large products are faster with large tiles
 */
export async function tuneMatmul(gpu: Gpu, measure = isLargeFaster): Promise<void> {
  if (gpu.adapter.software || gpu.memory.freeBytes < BYTES) return;
  gpu.tuning.largeProducts = await measureOnce(gpu, KERNELS_VERSION, async () => await measure(gpu));
}

/**
 * Whether large products are faster on the GPU's matrix units than with the tile that `tuneMatmul` chose.
 * @param measure tells it where nothing is known of the adapter
 */
export async function areMatricesFaster(
  gpu: Gpu,
  units: MatrixUnits,
  measure = isHalvesFaster,
): Promise<boolean> {
  if (gpu.memory.freeBytes < BYTES) return false;
  return await measureOnce(gpu, HALVES_VERSION, async () => await measure(gpu, units));
}

/** What was found of this adapter before, or what `measure` finds now. */
async function measureOnce(
  { adapter }: Gpu,
  name: string | number,
  measure: () => Promise<boolean>,
): Promise<boolean> {
  const before = await readTuning<boolean>(adapter, name);
  if (before !== undefined) return before;
  const found = await measure();
  await keepTuning(adapter, name, found);
  return found;
}

async function isLargeFaster(gpu: Gpu): Promise<boolean> {
  return await withOperands(gpu, async (shape) => {
    const small = async () => await matmul(gpu, shape, "small");
    const large = async () => await matmul(gpu, shape, "large");
    return await isFaster(gpu, large, small);
  });
}

async function isHalvesFaster(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
  const tile: MatmulTile = gpu.tuning.largeProducts ? "large" : "small";
  return await withOperands(gpu, async ({ b, ...shape }) => {
    const weights = { ...shape, b, bDtype: "BF16" } as const;
    const halves = async () => await matmulHalves(gpu, units, weights);
    return await isFaster(gpu, halves, async () => await matmul(gpu, weights, tile));
  });
}

type Operands = ReturnType<typeof operandsIn>;

function operandsIn(operand: LedgerBuffer, result: LedgerBuffer) {
  const side = { buffer: operand, stride: DEPTH };
  return { m: SIZE, n: SIZE, k: DEPTH, a: side, b: side, c: { buffer: result, stride: SIZE } };
}

async function withOperands<T>(gpu: Gpu, use: (operands: Operands) => Promise<T>): Promise<T> {
  const [operand, result] = await gpu.memory.allocateAll([
    { label: "tuning operands", bytes: SIZE * DEPTH * 4 },
    { label: "tuning result", bytes: SIZE * SIZE * 4 },
  ]);
  try {
    return await use(operandsIn(operand, result));
  } finally {
    operand[Symbol.dispose]();
    result[Symbol.dispose]();
  }
}

async function isFaster(
  { queue }: Gpu,
  one: () => Promise<void>,
  other: () => Promise<void>,
): Promise<boolean> {
  const time = async (product: () => Promise<void>) => {
    await queue.idle();
    const busy = queue.busyMs;
    // Several at once: browsers round the GPU's clock to a tenth of a millisecond.
    for (let run = 0; run < RUNS; run++) await product();
    await queue.idle();
    return queue.busyMs - busy;
  };
  for (const product of [other, one]) await time(product);
  return (await time(one)) < (await time(other));
}
