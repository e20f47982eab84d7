// Whether a GPU is faster with Strassen's products: measured before the first job that has room for them, and kept in IndexedDB
// until the last job is deleted.

import { createLifetime } from "../../../disposal.ts";
import { measureOnce } from "../../device/tuning-store.ts";
import type { Gpu } from "../../gpu.ts";
import { matmul } from "../matmul.ts";
import { productTime } from "../product-time.ts";
import { matmulStrassen } from "./strassen.ts";
import { createStrassenScratch, leastStrassen, type ProductSize, strassenRequests } from "./strassen-size.ts";

/** To be raised with every change to a kernel of these or of plain products: what was measured of another one counts no more. */
const VERSION = "strassen 5";
/** What a layer of 7 or 8 billion parameters has for two sequences. */
const SIZE: ProductSize = { m: 4096, n: 4096, k: 4096 };
/** They round otherwise than plain ones, so that what is nearly a draw must not decide. */
const SHARE = 0.95;
/** Taken in turns, and the best of them counts: a GPU's clock rises for a while after a pause. */
const TURNS = 4;
/** Of one kind in a turn. */
const RUNS = 3;

/** GPU bytes that the measurement takes for its while. */
export function strassenTuningBytes(): number {
  const requests = [...strassenRequests(leastStrassen(SIZE)), ...operands()];
  return requests.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Whether Strassen's products are faster than plain ones with a weight of 16 bits, by a clear margin.
 * @param measure tells it where nothing is known of the adapter
 */
export async function isStrassenFaster(gpu: Gpu, measure = isFasterNow): Promise<boolean> {
  const isLarge = gpu.tuning.largeProducts && !gpu.adapter.software;
  if (!isLarge || gpu.memory.freeBytes < strassenTuningBytes()) return false;
  return await measureOnce(gpu.adapter, VERSION, async () => await measure(gpu));
}

function operands() {
  const { m, n, k } = SIZE;
  return [
    { label: "tuning activations", bytes: m * k * 4 },
    { label: "tuning weight", bytes: n * k * 2 },
    { label: "tuning result", bytes: m * n * 4 },
  ] as const;
}

async function isFasterNow(gpu: Gpu): Promise<boolean> {
  const { n, k } = SIZE;
  using lifetime = createLifetime();
  const scratch = lifetime.use(await createStrassenScratch(gpu.memory, leastStrassen(SIZE)));
  const [a, b, c] = await gpu.memory.allocateAll(operands());
  for (const buffer of [a, b, c]) lifetime.use(buffer);
  const sides = { a: { buffer: a, stride: k }, b: { buffer: b, stride: k }, c: { buffer: c, stride: n } };
  const product = { ...SIZE, ...sides, bDtype: "BF16" } as const;
  let [strassen, plain] = [Infinity, Infinity];
  // The first turn compiles.
  for (let turn = 0; turn <= TURNS; turn++) {
    const own = await productTime(gpu, async () => await matmulStrassen(gpu, scratch, product), RUNS);
    const other = await productTime(gpu, async () => await matmul(gpu, product, "large"), RUNS);
    if (turn > 0) [strassen, plain] = [Math.min(strassen, own), Math.min(plain, other)];
  }
  return strassen <= SHARE * plain;
}
