// Strassen's products for a job's forward passes: where its plan has room for them, and they are faster.

import type { Gpu } from "../gpu.ts";
import { createStrassenScratch, type ProductSize } from "./strassen-size.ts";
import { isStrassenFaster } from "./tune-matmul.ts";

/**
 * Sets `gpu.tuning.strassen`, or leaves it null. Disposing the result frees what it holds.
 * @param largest the largest of the products that the plan has room for; null where it has none
 * @param anyway takes them whether they are faster or not
 */
export async function openStrassen(
  gpu: Gpu,
  largest: ProductSize | null,
  anyway = false,
): Promise<Disposable> {
  if (!largest || !(anyway || (await isStrassenFaster(gpu)))) return { [Symbol.dispose]: () => undefined };
  const scratch = await createStrassenScratch(gpu.memory, largest);
  gpu.tuning.strassen = scratch;
  return {
    [Symbol.dispose]() {
      gpu.tuning.strassen = null;
      scratch[Symbol.dispose]();
    },
  };
}
