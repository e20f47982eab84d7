// Several float32 products of one shape in one dispatch, with large tiles: together they fill a GPU that one of them would not.

import { invariant } from "../../errors.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../gpu.ts";
import { type Kernel, spreadWorkgroups } from "../kernel.ts";
import {
  checkAlignment,
  constantsOf,
  largeMatmulKernel,
  largePairKernel,
  type LinearProduct,
  type MatmulForm,
  type Matrix,
  paddingOf,
  productParams,
  TILE_SIZE,
} from "./matmul.ts";

/** Products of one shape in float32, whose operands, (k, m) and (k, n), and results lie one behind the other. */
export interface BatchedProducts extends Omit<LinearProduct, "bDtype" | "accumulate"> {
  readonly count: number;
  /** Elements from one to the next: multiples of 4. */
  readonly batchStrides: { readonly a: number; readonly b: number; readonly c: number };
}

/** What is compiled into a batch of products. */
const BATCH_FORM = { aTransposed: true, bTransposed: false, bDtype: "F32" } as const;

/** Compiles `matmulBatched` before it is wanted. */
export function prepareMatmulBatched(gpu: Gpu): void {
  gpu.queue.prepare(largeMatmulKernel, batchConstants(gpu, BATCH_FORM));
}

/**
 * c = alpha · aᵀ · b for each of several products: one dispatch, if the queue does not cut it. Operands that lie k-major are
 * what these are fastest with: 48.5 TFLOP/s on an H200, where others take 45.3.
 */
export async function matmulBatched(gpu: Gpu, products: BatchedProducts): Promise<void> {
  const { a, b, c, count, batchStrides } = products;
  checkAlignment(products);
  const constants = batchConstants(gpu, BATCH_FORM);
  for (const { params, workgroups, work } of batchDispatches(gpu, largeMatmulKernel, products, count)) {
    const strides = { a_batch: batchStrides.a, b_batch: batchStrides.b, c_batch: batchStrides.c };
    await gpu.queue.run(largeMatmulKernel, {
      params: { ...params, ...strides },
      buffers: { a: a.buffer, b: b.buffer, c: c.buffer },
      constants,
      workgroups,
      work,
    });
  }
}

/** Two Linears' products of the same activations, whose results lie in one buffer. */
export interface PairedProducts extends Omit<LinearProduct, "b" | "c"> {
  /** (n, k) each, of one stride and offset. */
  readonly b: readonly [Matrix, Matrix];
  /** (m, n) each, of one buffer and stride; the second one's offset is the larger one. */
  readonly c: readonly [Matrix, Matrix];
}

/** Compiles `matmulPair` before it is wanted. */
export function prepareMatmulPair(gpu: Gpu, form: { bDtype: FloatDtype; accumulate: boolean }): void {
  gpu.queue.prepare(largePairKernel, batchConstants(gpu, form));
}

/** c = alpha · a · bᵀ, or c += that, for two weights: one dispatch, if the queue does not cut it, and the bits of two products. */
export async function matmulPair(gpu: Gpu, pair: PairedProducts): Promise<void> {
  const { a, accumulate, bDtype = "F32" } = pair;
  const [b, second] = pair.b;
  const [c, behind] = pair.c;
  const shape = { ...pair, b, c };
  for (const product of [shape, { ...pair, b: second, c: behind }]) checkAlignment(product);
  invariant(b.stride === second.stride && (b.offset ?? 0) === (second.offset ?? 0), "weights lie alike");
  invariant(c.buffer === behind.buffer && c.stride === behind.stride, "results lie in one matrix");
  const between = (behind.offset ?? 0) - (c.offset ?? 0);
  invariant(between >= 0, "the second result lies behind the first");
  const form = { bDtype, ...(accumulate !== undefined && { accumulate }) };
  const constants = batchConstants(gpu, form);
  for (const { params, workgroups, work } of batchDispatches(gpu, largePairKernel, shape, 2)) {
    await gpu.queue.run(largePairKernel, {
      params: { ...params, a_batch: 0, b_batch: 0, c_batch: between },
      buffers: { a: a.buffer, b: b.buffer, c: c.buffer, second_b: second.buffer },
      constants,
      workgroups,
      work,
    });
  }
}

function batchConstants(gpu: Gpu, form: MatmulForm) {
  return { ...constantsOf(form), PADDING: paddingOf(gpu), BATCHED: 1 };
}

/** What dispatches of `count` products of one shape are told, but for where each one lies. */
function* batchDispatches(gpu: Gpu, kernel: Kernel, product: LinearProduct, count: number) {
  const { m, n, k } = product;
  const size = TILE_SIZE.large;
  const tilesN = Math.ceil(n / size);
  const tiles = Math.ceil(m / size) * tilesN;
  const work = 2 * size * size * k;
  for (const { first, end } of gpu.queue.split(kernel, count * tiles, work)) {
    const params = {
      ...productParams(product),
      tiles_n: tilesN,
      first_tile: first,
      end_tile: end,
      row_origin: 0,
      column_origin: 0,
      batch_tiles: tiles,
    };
    yield { params, workgroups: spreadWorkgroups(end - first), work: (end - first) * work };
  }
}
