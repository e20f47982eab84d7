// A product of activations by a Linear's weight, on what the GPU is fastest with that is exact enough for a forward pass.

import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { MatrixUnits } from "../device/tuning.ts";
import type { Gpu } from "../gpu.ts";
import {
  chooseTile,
  type LinearProduct,
  matmul,
  type Matrix,
  matrixFrom,
  prepareMatmul,
  TILE_SIZE,
} from "./matmul.ts";
import { matmulPair, prepareMatmulPair } from "./matmul-batches.ts";
import { type HalvesOptions, isForHalves, matmulHalves, prepareHalves } from "./matmul-halves.ts";
import { matmulStrassen, prepareStrassen } from "./strassen/strassen.ts";
import { holds, isForStrassen, type ProductSize } from "./strassen/strassen-size.ts";

type ForwardOptions = LinearProduct & { readonly bDtype: FloatDtype };

/**
 * c = alpha · a · bᵀ, or c += that: on matrix units if the job has them and the weight has 16 bits, else in float32, by
 * Strassen's products if the job has room for them and the product is large.
 */
export async function forwardProduct(gpu: Gpu, options: ForwardOptions): Promise<void> {
  const { strassen } = gpu.tuning;
  if (strassen && isByStrassen(gpu, options)) await matmulStrassen(gpu, strassen, options);
  else await plainProduct(gpu, options);
}

function isByStrassen({ tuning: { strassen } }: Gpu, options: ForwardOptions): boolean {
  return strassen !== null && isForStrassen(options) && holds(strassen, options);
}

async function plainProduct(gpu: Gpu, options: ForwardOptions): Promise<void> {
  const { matrices } = gpu.tuning;
  if (matrices && isByHalves(matrices, options)) await matmulHalves(gpu, matrices, options);
  else await matmul(gpu, options);
}

function isByHalves(units: MatrixUnits, options: ForwardOptions): options is HalvesOptions {
  return options.bDtype !== "F32" && isForHalves(units, options);
}

/**
 * Two products of the same activations, to the same bits as one after the other: at once where neither fills the GPU and both have the
 * same shape and place, as a layer's keys and values do.
 */
export async function forwardProducts(gpu: Gpu, products: [ForwardOptions, ForwardOptions]): Promise<void> {
  const [one, other] = products;
  if (arePaired(gpu, one, other)) await matmulPair(gpu, { ...one, b: [one.b, other.b], c: [one.c, other.c] });
  else for (const product of products) await forwardProduct(gpu, product);
}

/** Two products are made at once where each has so many large tiles at most: half of what the largest GPUs have at work. */
const PAIR_TILES = 132;

/** Whether a product leaves half of a large GPU idle, which another one like it fills. By shape alone: the bits are the same. */
export function isForPair({ m, n }: Pick<ProductSize, "m" | "n">): boolean {
  return Math.ceil(m / TILE_SIZE.large) * Math.ceil(n / TILE_SIZE.large) <= PAIR_TILES;
}

function arePaired(gpu: Gpu, one: ForwardOptions, other: ForwardOptions): boolean {
  const { matrices } = gpu.tuning;
  if (!isForPair(one) || isByStrassen(gpu, one)) return false;
  if (matrices && isByHalves(matrices, one)) return false;
  const isAlike =
    one.m === other.m &&
    one.n === other.n &&
    one.k === other.k &&
    one.bDtype === other.bDtype &&
    one.b.stride === other.b.stride &&
    isOneMatrix(one.c, other.c);
  // Both fill large tiles, together at least.
  return isAlike && chooseTile(gpu, one.m, 2 * one.n) === "large";
}

/** Whether the second results lie behind the first ones in the same rows. */
function isOneMatrix(first: Matrix, second: Matrix): boolean {
  const [start, behind] = [first.offset ?? 0, second.offset ?? 0];
  return first.buffer === second.buffer && first.stride === second.stride && start < behind;
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
      a: matrixFrom(a, 0, first),
      b: matrixFrom(b, 0, first),
      accumulate: accumulate || first > 0,
    });
  }
}

/** Begins to compile what `forwardProduct` takes for large shapes, and if there are some `forwardProducts` for pairs. */
export function prepareForwardProduct(
  gpu: Gpu,
  form: { readonly bDtype: FloatDtype; readonly accumulate: boolean },
  pairs = false,
): void {
  const { bDtype, accumulate } = form;
  const { matrices, strassen, lentStrassen, largeProducts } = gpu.tuning;
  if (strassen ?? lentStrassen) prepareStrassen(gpu, bDtype);
  if (matrices && bDtype !== "F32") return prepareHalves(gpu, matrices, { bDtype, accumulate });
  prepareMatmul(gpu, form);
  if (pairs && largeProducts) prepareMatmulPair(gpu, form);
}
