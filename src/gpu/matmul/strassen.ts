// One level of Strassen's algorithm for large products in float32: seven products of half the size in each dimension instead
// of eight, for sums of quadrants before and behind them, which move bytes and take little of the time where products are
// large (V. Strassen, Gaussian elimination is not optimal, 1969).
//
// Quadrants of activations are their even and odd rows by the halves of their columns, those of a weight likewise, so that a
// result depends on its own two pairs of rows and not on where a batch or a chunk ends. Each column of the weight is scaled by
// its largest magnitude and the same column of the activations by the inverse, then each row of both by its own (inside and
// outside scaling: Ballard, Benson, Druinsky, Lipshitz, Schwartz, arXiv 1507.00687). Scales are powers of two. Without them what a
// channel of large activations or a token of them is off would be found again in results that are small.

import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_CODE } from "../elements/dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { kernel, spreadWorkgroups } from "../kernel.ts";
import numberFormats from "../elements/number-formats.wgsl?raw";
import { struct } from "../struct.ts";
import {
  checkAlignment,
  type LinearProduct,
  type Matrix,
  matmulBatched,
  prepareMatmulBatched,
} from "./matmul.ts";
import columnsCode from "./strassen-columns.wgsl?raw";
import loadCode from "./strassen-load.wgsl?raw";
import operandCode from "./strassen-operand.wgsl?raw";
import resultCode from "./strassen-result.wgsl?raw";
import scalesCode from "./strassen-scales.wgsl?raw";
import { areWhole, chunks, holds, PLANES, type ProductSize, type StrassenScratch } from "./strassen-size.ts";

/** The largest magnitudes of a weight's columns. */
export const strassenColumnsKernel = kernel({
  name: "gpu.strassen-columns",
  code: [numberFormats, loadCode, columnsCode],
  params: struct({ rows: "u32", columns: "u32", stride: "u32", offset: "u32", run: "u32" }),
  bindings: { values: "read", column_sizes: "read_write" },
  constants: ["DTYPE"],
});

/** Seven operands of a matrix. */
export const strassenOperandKernel = kernel({
  name: "gpu.strassen-operand",
  code: [numberFormats, loadCode, scalesCode, operandCode],
  params: struct({
    rows: "u32",
    half: "u32",
    stride: "u32",
    offset: "u32",
    first_pair: "u32",
    end_pair: "u32",
    rows_at: "u32",
    plane: "u32",
  }),
  bindings: { values: "read", column_sizes: "read", row_sizes: "read_write", planes: "read_write" },
  constants: ["DTYPE", "LEFT"],
});

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
const COLUMNS_WORKGROUP = 64;
/** Runs of rows in which columns' largest magnitudes are looked for: with one, 64 workgroups leave a large GPU idle for longer than all sums take. */
const COLUMN_RUNS = 16;

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
      const a = partOf(options.a, rows.first, inputs.first);
      const b = partOf(options.b, 0, inputs.first);
      const size = { m: rows.size, n, k: inputs.size };
      await findColumns(gpu, scratch, { b, bDtype }, size);
      await makeOperand(gpu, scratch, "left", { ...a, dtype: "F32" }, size);
      for (const outputs of chunks(scratch, "n", n)) {
        const own = { ...size, n: outputs.size };
        const weight = { ...partOf(b, outputs.first, 0), dtype: bDtype };
        await makeOperand(gpu, scratch, "right", weight, own);
        await multiply(gpu, scratch, own);
        const c = partOf(options.c, rows.first, outputs.first);
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
  for (const DTYPE of [DTYPE_CODE[bDtype], DTYPE_CODE.F32]) queue.prepare(strassenColumnsKernel, { DTYPE });
  queue.prepare(strassenOperandKernel, { DTYPE: DTYPE_CODE.F32, LEFT: 1 });
  queue.prepare(strassenOperandKernel, { DTYPE: DTYPE_CODE[bDtype], LEFT: 0 });
  for (const ACCUMULATE of [0, 1]) queue.prepare(strassenResultKernel, { ACCUMULATE });
}

function partOf(matrix: Matrix, row: number, column: number): Matrix {
  return { ...matrix, offset: (matrix.offset ?? 0) + row * matrix.stride + column };
}

/** Where the largest magnitudes of both sides' rows begin. */
function rowPlaces({ m }: ProductSize) {
  return { left: 0, right: Math.ceil(m / 4) * 4 };
}

/** In runs of rows, each of which leaves a row of magnitudes where products will lie. */
async function findColumns(
  gpu: Gpu,
  { columnSizes, products }: StrassenScratch,
  { b, bDtype }: Pick<StrassenOptions, "b" | "bDtype">,
  { n: rows, k: columns }: ProductSize,
): Promise<void> {
  const run = Math.ceil(rows / COLUMN_RUNS);
  const runs = Math.ceil(rows / run);
  invariant(products.bytes >= runs * columns * 4, "magnitudes of all runs have room among the products");
  const weight = { rows, columns, stride: b.stride, offset: b.offset ?? 0, run };
  const found = { rows: runs, columns, stride: columns, offset: 0, run: runs };
  for (const { params, values, to, dtype } of [
    { params: weight, values: b.buffer, to: products, dtype: bDtype },
    { params: found, values: products, to: columnSizes, dtype: "F32" },
  ] as const) {
    await gpu.queue.run(strassenColumnsKernel, {
      params,
      buffers: { values, column_sizes: to },
      constants: { DTYPE: DTYPE_CODE[dtype] },
      workgroups: [Math.ceil(columns / COLUMNS_WORKGROUP), Math.ceil(params.rows / params.run)],
      work: params.rows * columns,
    });
  }
}

async function makeOperand(
  gpu: Gpu,
  scratch: StrassenScratch,
  side: "left" | "right",
  matrix: Matrix & { readonly dtype: FloatDtype },
  size: ProductSize,
): Promise<void> {
  const rows = side === "left" ? size.m : size.n;
  const half = size.k / 2;
  const pairs = Math.ceil(rows / 2);
  const work = 2 * size.k * (1 + PLANES / 4);
  for (const { first, end } of gpu.queue.split(strassenOperandKernel, pairs, work)) {
    await gpu.queue.run(strassenOperandKernel, {
      params: {
        rows,
        half,
        stride: matrix.stride,
        offset: matrix.offset ?? 0,
        first_pair: first,
        end_pair: end,
        rows_at: rowPlaces(size)[side],
        plane: pairs * half,
      },
      buffers: {
        values: matrix.buffer,
        column_sizes: scratch.columnSizes,
        row_sizes: scratch.rowSizes,
        planes: scratch[side],
      },
      constants: { DTYPE: DTYPE_CODE[matrix.dtype], LEFT: Number(side === "left") },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}

async function multiply(
  gpu: Gpu,
  { left, right, products }: StrassenScratch,
  size: ProductSize,
): Promise<void> {
  const [m, n, k] = [Math.ceil(size.m / 2), size.n / 2, size.k / 2];
  await matmulBatched(gpu, {
    count: PLANES,
    m,
    n,
    k,
    a: { buffer: left, stride: k },
    b: { buffer: right, stride: k },
    c: { buffer: products, stride: n },
    batchStrides: { a: m * k, b: n * k, c: m * n },
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
