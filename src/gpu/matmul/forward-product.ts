// A product of activations by a Linear's weight, on what the GPU is fastest with that is exact enough for a forward pass.

import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../gpu.ts";
import { type LinearProduct, matmul, prepareMatmul } from "./matmul.ts";
import { isForHalves, matmulHalves, prepareHalves } from "./matmul-halves.ts";
import { matmulStrassen, prepareStrassen } from "./strassen.ts";
import { holds, isForStrassen } from "./strassen-size.ts";

type ForwardOptions = LinearProduct & { readonly bDtype: FloatDtype };

/**
 * c = alpha · a · bᵀ, or c += that: on matrix units if the job has them and the weight has 16 bits, else in float32, by
 * Strassen's products if the job has room for them and the product is large.
 */
export async function forwardProduct(gpu: Gpu, options: ForwardOptions): Promise<void> {
  const { strassen } = gpu.tuning;
  if (strassen && isForStrassen(options) && holds(strassen, options))
    await matmulStrassen(gpu, strassen, options);
  else await plainProduct(gpu, options);
}

async function plainProduct(gpu: Gpu, options: ForwardOptions): Promise<void> {
  const { bDtype } = options;
  const { matrices } = gpu.tuning;
  if (matrices && bDtype !== "F32" && isForHalves(matrices, options))
    await matmulHalves(gpu, matrices, { ...options, bDtype });
  else await matmul(gpu, options);
}

/** Parts of a sum, and the least that one has: what the kernels take at once. */
const PARTS = 4;
const LEAST_PART = 16;

/**
 * The same, with each sum along k made in up to four parts that are added up in c: sums of n terms round n times, and most
 * where they are nearly whole. Never by Strassen's products, which round more.
 */
export async function productInParts(gpu: Gpu, options: ForwardOptions): Promise<void> {
  const { k, a, b, accumulate = false } = options;
  const part = Math.ceil(k / PARTS / LEAST_PART) * LEAST_PART;
  for (let first = 0; first < k; first += part) {
    await plainProduct(gpu, {
      ...options,
      k: Math.min(part, k - first),
      a: { ...a, offset: (a.offset ?? 0) + first },
      b: { ...b, offset: (b.offset ?? 0) + first },
      accumulate: accumulate || first > 0,
    });
  }
}

/** Begins to compile what `forwardProduct` takes for large shapes. */
export function prepareForwardProduct(
  gpu: Gpu,
  form: { readonly bDtype: FloatDtype; readonly accumulate: boolean },
): void {
  const { bDtype, accumulate } = form;
  const { matrices, strassen, lentStrassen } = gpu.tuning;
  if (strassen ?? lentStrassen) prepareStrassen(gpu, bDtype);
  if (!matrices || bDtype === "F32") prepareMatmul(gpu, form);
  else prepareHalves(gpu, matrices, { bDtype, accumulate });
}
