// One level of Strassen's algorithm for large products in float32: seven products of half the size in each dimension instead
// of eight, for sums of quadrants before and behind them, which move bytes and take little of the time where products are
// large (V. Strassen, Gaussian elimination is not optimal, 1969).
//
// Quadrants of activations are their even and odd rows by the halves of their columns, those of a weight likewise, so that a
// result depends on its own two pairs of rows and not on where a batch or a chunk ends. Each column of the weight is scaled by
// its largest magnitude and the same column of the activations by the inverse, then each row of both by its own (inside and
// outside scaling: Ballard, Benson, Druinsky, Lipshitz, Schwartz, arXiv 1507.00687). Scales are powers of two. Without them what a
// channel of large activations or a token of them is off would be found again in results that are small.

import type { FloatDtype } from "../../../formats/numbers/dtype.ts";
import { invariant } from "../../../errors.ts";
import type { Gpu } from "../../gpu.ts";
import { kernel, spreadWorkgroups } from "../../kernel.ts";
import { struct } from "../../struct.ts";
import { checkAlignment, type LinearProduct, type Matrix, matrixFrom } from "../matmul.ts";
import { matmulBatched, prepareMatmulBatched } from "../matmul-batches.ts";
import resultCode from "./strassen-result.wgsl?raw";
import scalesCode from "./strassen-scales.wgsl?raw";
import { findColumns, makeOperand, planeStride, prepareOperands, rowPlaces } from "./strassen-operands.ts";
import { areWhole, chunks, holds, PLANES, type ProductSize, type StrassenScratch } from "./strassen-size.ts";

/** A result out of seven products. */
export const strassenResultKernel = kernel({
  name: "gpu.strassen-result",
  code: [scalesCode, resultCode],
  params: struct({
    rows: "u32",
    half: "u32",
    stride: "u32",
    offset: "u32",
    alpha: "f32",
    left_at: "u32",
    right_at: "u32",
    plane: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { products: "read", row_sizes: "read", c: "read_write" },
  constants: ["ACCUMULATE"],
});

const RESULTS_WORKGROUP = 256;
export type StrassenOptions = LinearProduct & { readonly bDtype: FloatDtype };

/**
 * c = alpha · a · bᵀ, or c += that, for n a multiple of 8 and k one of 32. Rows past m are not written. Rounds about 1.5 to 2.1
 * times as much as `matmul`: root mean square error against float64 of 1.7e-6 of a row's where that has 1.2e-6 (k = 4096,
 * normal values), 2.4e-6 with channels 100 to 1000 times as large as others whose weights are 50 times as small. A value that is
 * not finite spoils its row and the one that it is paired with.
 */
export async function matmulStrassen(
  gpu: Gpu,
  scratch: StrassenScratch,
  options: StrassenOptions,
): Promise<void> {
  checkAlignment(options);
  invariant(areWhole(options) && holds(scratch, options), "the scratch was made for products like this one");
  await scratch.inTurn(async () => await multiplyInChunks(gpu, scratch, options));
}

async function multiplyInChunks(gpu: Gpu, scratch: StrassenScratch, options: StrassenOptions): Promise<void> {
  const { m, n, k, bDtype, alpha = 1 } = options;
  for (const rows of chunks(scratch, "m", m)) {
    for (const inputs of chunks(scratch, "k", k)) {
      const a = matrixFrom(options.a, rows.first, inputs.first);
      const b = matrixFrom(options.b, 0, inputs.first);
      const size = { m: rows.size, n, k: inputs.size };
      await findColumns(gpu, scratch, { ...b, dtype: bDtype }, size);
      await makeOperand(gpu, scratch, "left", { ...a, dtype: "F32" }, size);
      for (const outputs of chunks(scratch, "n", n)) {
        const own = { ...size, n: outputs.size };
        const weight = { ...matrixFrom(b, outputs.first, 0), dtype: bDtype };
        await makeOperand(gpu, scratch, "right", weight, own);
        await multiply(gpu, scratch, own);
        const c = matrixFrom(options.c, rows.first, outputs.first);
        const accumulate = (options.accumulate ?? false) || inputs.first > 0;
        await makeResult(gpu, scratch, { c, alpha, accumulate }, own);
      }
    }
  }
}

/** Begins to compile what the products of weights in this dtype run on. */
export function prepareStrassen(gpu: Gpu, bDtype: FloatDtype): void {
  const { queue } = gpu;
  prepareMatmulBatched(gpu);
  prepareOperands(gpu, bDtype);
  for (const ACCUMULATE of [0, 1]) queue.prepare(strassenResultKernel, { ACCUMULATE });
}

async function multiply(
  gpu: Gpu,
  { left, right, products }: StrassenScratch,
  size: ProductSize,
): Promise<void> {
  const [m, n, k] = [Math.ceil(size.m / 2), size.n / 2, size.k / 2];
  const strides = { a: planeStride(size.m), b: planeStride(size.n) };
  await matmulBatched(gpu, {
    count: PLANES,
    m,
    n,
    k,
    a: { buffer: left, stride: strides.a },
    b: { buffer: right, stride: strides.b },
    c: { buffer: products, stride: n },
    batchStrides: { a: strides.a * k, b: strides.b * k, c: m * n },
  });
}

async function makeResult(
  gpu: Gpu,
  { products, rowSizes }: StrassenScratch,
  to: { readonly c: Matrix; readonly alpha: number; readonly accumulate: boolean },
  size: ProductSize,
): Promise<void> {
  const { c, alpha, accumulate } = to;
  const half = size.n / 2;
  const pairs = Math.ceil(size.m / 2);
  const places = rowPlaces(size);
  const groups = Math.ceil((pairs * half) / 4 / RESULTS_WORKGROUP);
  const work = RESULTS_WORKGROUP * 4 * 4 * (1 + PLANES / 4);
  for (const { first, end } of gpu.queue.split(strassenResultKernel, groups, work)) {
    await gpu.queue.run(strassenResultKernel, {
      params: {
        rows: size.m,
        half,
        stride: c.stride,
        offset: c.offset ?? 0,
        alpha,
        left_at: places.left,
        right_at: places.right,
        plane: pairs * half,
        first,
        end,
      },
      buffers: { products, row_sizes: rowSizes, c: c.buffer },
      constants: { ACCUMULATE: Number(accumulate) },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}
