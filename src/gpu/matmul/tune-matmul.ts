// Which product kernels a GPU likes: measured the first time that an adapter is seen, before the first large job, and kept in
// IndexedDB until the last job is deleted.

import type { Gpu } from "../gpu.ts";
import type { LedgerBuffer } from "../memory.ts";
import { measureOnce } from "../device/tuning-store.ts";
import { leastTile, type LinearProduct, matmul, type MatmulTile } from "./matmul.ts";
import { matmulHalves } from "./matmul-halves.ts";
import { productTime } from "./product-time.ts";
import type { MatrixUnits } from "../device/tuning.ts";

/** What a measurement multiplies: `size` rows and columns of results, `depth` products each. */
interface Square {
  readonly size: number;
  readonly depth: number;
}

/** Large enough to fill a data centre's GPU (256 large tiles), small enough for a phone: 2 · 2048 · 2048 · 512 flops. */
const LEAST: Square = { size: 2048, depth: 512 };
/** Four rounds of wide tiles on the largest GPUs. */
const MANY_WIDE: Square = { size: 4096, depth: 1024 };
/** What an expert makes of its tokens: 48 large tiles, on which a data centre's GPU spends some 50 µs. */
const FEW = { m: 1024, n: 768 } as const;
/** Browsers round the GPU's clock to a tenth of a millisecond; what is compared takes twenty times as long, by as many runs as it needs. */
const LEAST_MS = 2;
const LEAST_RUNS = 3;
const MOST_RUNS = 200;
/** Where small tiles are faster with those, they are taken for fewer large ones than this. */
const FEW_TILES = 96;
/** To be raised with every change to a product kernel: what was measured of another one counts no more. */
const KERNELS_VERSION = 4;
const FEW_VERSION = "few tiles 4";
const HALVES_VERSION = "halves 4";
const WIDE_VERSION = "wide halves 3";

/** Whether products are faster with large tiles. */
interface TileMeasures {
  readonly many: (gpu: Gpu) => Promise<boolean>;
  readonly few: (gpu: Gpu) => Promise<boolean>;
}

const MEASURES: TileMeasures = {
  many: async (gpu) => await isLargeFaster(gpu, { m: LEAST.size, n: LEAST.size }),
  few: async (gpu) => await isLargeFaster(gpu, FEW),
};

/**
 * Sets `gpu.tuning.largeProducts` and `largeFrom`. Either kernel gives the same bits, so a resumed job may choose the other one.
 * @param measure tells it of shapes of many large tiles, and of few
 */
export async function tuneMatmul(gpu: Gpu, { many, few } = MEASURES): Promise<void> {
  if (gpu.adapter.software || gpu.memory.freeBytes < bytesOf(LEAST)) return;
  const { adapter, tuning } = gpu;
  tuning.largeProducts = await measureOnce(adapter, KERNELS_VERSION, async () => await many(gpu));
  if (!tuning.largeProducts) return;
  tuning.largeFrom = (await measureOnce(adapter, FEW_VERSION, async () => await few(gpu))) ? 1 : FEW_TILES;
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
  if (gpu.memory.freeBytes < bytesOf(LEAST)) return false;
  return await measureOnce(gpu.adapter, HALVES_VERSION, async () => await measure(gpu, units));
}

/**
 * Whether large products are faster in wide tiles on the GPU's matrix units.
 * @param measure tells it where nothing is known of the adapter
 */
export async function isWideFaster(
  gpu: Gpu,
  units: MatrixUnits,
  measure = isWideFasterNow,
): Promise<boolean> {
  if (gpu.adapter.software || gpu.memory.freeBytes < bytesOf(MANY_WIDE)) return false;
  return await measureOnce(gpu.adapter, WIDE_VERSION, async () => await measure(gpu, units));
}

async function isLargeFaster(gpu: Gpu, size: Pick<LinearProduct, "m" | "n">): Promise<boolean> {
  return await withOperands(gpu, LEAST, async (operands) => {
    const shape = { ...operands, ...size };
    const small = async () => await matmul(gpu, shape, "small");
    const large = async () => await matmul(gpu, shape, "large");
    return await isFaster(gpu, large, small);
  });
}

async function isHalvesFaster(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
  const tile: MatmulTile = gpu.tuning.largeProducts ? "large" : leastTile(gpu);
  return await withOperands(gpu, LEAST, async (operands) => {
    const weights = { ...operands, bDtype: "BF16" } as const;
    const halves = async () => await matmulHalves(gpu, units, weights);
    return await isFaster(gpu, halves, async () => await matmul(gpu, weights, tile));
  });
}

async function isWideFasterNow(gpu: Gpu, units: MatrixUnits): Promise<boolean> {
  return await withOperands(gpu, MANY_WIDE, async (operands) => {
    const product = async (wide: boolean) =>
      await matmulHalves(gpu, units, { ...operands, bDtype: "BF16" }, wide);
    return await isFaster(
      gpu,
      async () => await product(true),
      async () => await product(false),
    );
  });
}

type Operands = ReturnType<typeof operandsIn>;

function operandsIn({ size, depth }: Square, operand: LedgerBuffer, result: LedgerBuffer) {
  const side = { buffer: operand, stride: depth };
  return { m: size, n: size, k: depth, a: side, b: side, c: { buffer: result, stride: size } };
}

/** GPU bytes that a measurement takes for its while: both operands are the same ones. */
function bytesOf({ size, depth }: Square): number {
  return size * depth * 4 + size * size * 4;
}

async function withOperands<T>(
  gpu: Gpu,
  square: Square,
  use: (operands: Operands) => Promise<T>,
): Promise<T> {
  const { size, depth } = square;
  const [operand, result] = await gpu.memory.allocateAll([
    { label: "tuning operands", bytes: size * depth * 4 },
    { label: "tuning result", bytes: size * size * 4 },
  ]);
  try {
    return await use(operandsIn(square, operand, result));
  } finally {
    operand[Symbol.dispose]();
    result[Symbol.dispose]();
  }
}

async function isFaster(gpu: Gpu, one: () => Promise<void>, other: () => Promise<void>): Promise<boolean> {
  // What runs first compiles and wakes the GPU.
  for (const product of [other, one]) await productTime(gpu, product, LEAST_RUNS);
  let runs = LEAST_RUNS;
  while (runs < MOST_RUNS && (await productTime(gpu, other, runs)) < LEAST_MS) runs *= 2;
  return (await productTime(gpu, one, runs)) < (await productTime(gpu, other, runs));
}
