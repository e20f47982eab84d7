// One level of Strassen's algorithm for large products in float32: seven products of half the size in each dimension instead
// of eight, for sums of quadrants before and behind them, which move bytes and take little of the time where products are
// large (V. Strassen, Gaussian elimination is not optimal, 1969).
//
// Quadrants of activations are their even and odd rows by the halves of their columns, those of a weight likewise, so that a
// result depends on its own two pairs of rows and not on where a batch or a chunk ends. Each column of the weight is scaled by
// its largest magnitude and the same column of the activations by the inverse, then each row of both by its own (inside and
// outside scaling: Ballard, Benson, Druinsky, Lipshitz, Schwartz, arXiv 1507.00687). Scales are powers of two. Without them what a
// channel of large activations or a token of them is off would be found again in results that are small.

import type { FloatDtype } from "../../formats/dtype.ts";
import { invariant } from "../../errors.ts";
import { DTYPE_CODE } from "../dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { kernel, spreadWorkgroups } from "../kernel.ts";
import type { BufferRequest, LedgerBuffer } from "../memory.ts";
import numberFormats from "../number-formats.wgsl?raw";
import { struct } from "../struct.ts";
import { checkAlignment, type LinearProduct, type Matrix, matmulBatched } from "./matmul.ts";
import columnsCode from "./strassen-columns.wgsl?raw";
import loadCode from "./strassen-load.wgsl?raw";
import operandCode from "./strassen-operand.wgsl?raw";
import resultCode from "./strassen-result.wgsl?raw";
import scalesCode from "./strassen-scales.wgsl?raw";

/** The largest magnitudes of a weight's columns. */
export const strassenColumnsKernel = kernel({
  name: "gpu.strassen-columns",
  code: [numberFormats, loadCode, columnsCode],
  params: struct({ rows: "u32", columns: "u32", stride: "u32", offset: "u32" }),
  bindings: { values: "read", scales: "read_write" },
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
  bindings: { values: "read", scales: "read_write", planes: "read_write" },
  constants: ["DTYPE", "LEFT"],
});

/** A result out of seven. */
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
  bindings: { products: "read", scales: "read", c: "read_write" },
  constants: ["ACCUMULATE"],
});

/** Rows of activations, rows of a weight and columns of both. */
export interface ProductSize {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

const PLANES = 7;
const RESULTS_WORKGROUP = 256;
const COLUMNS_WORKGROUP = 64;
/**
 * What is computed at once, so that scratch is bounded: 560 MiB. Chunks of k are added up in c, so that they, and no others, have a
 * part in what results round to.
 */
const CHUNK: ProductSize = { m: 8192, n: 4096, k: 4096 };
/** Chunks end with whole tiles of both halves; the last one of n with whole loads of them, and that of k with whole steps. */
const MULTIPLE: ProductSize = { m: 256, n: 256, k: 32 };
const LAST_N = 8;
/** Bytes that a GPU moves while it computes 12 operations in float32: 45 TFLOP/s and 3.8 TB/s of an H200, and less of most. */
const OPERATIONS_A_BYTE = 12;

/** Scratch of Strassen's products, which follow one another. */
export interface StrassenScratch {
  readonly left: LedgerBuffer;
  readonly right: LedgerBuffer;
  readonly products: LedgerBuffer;
  /** Largest magnitudes: of columns, of the left side's rows, of the right side's. */
  readonly scales: LedgerBuffer;
}

/** The buffers for products of at most this size. */
export function strassenRequests(largest: ProductSize) {
  const { m, n, k } = chunkOf(largest);
  const planes = (rows: number, columns: number) => (PLANES * rows * columns * 4) / 4;
  return [
    { label: "Strassen: left operands", bytes: planes(m, k) },
    { label: "Strassen: right operands", bytes: planes(n, k) },
    { label: "Strassen: products", bytes: planes(m, n) },
    { label: "Strassen: scales", bytes: (k + m + n) * 4 },
  ] as const satisfies readonly BufferRequest[];
}

/** Allocates scratch for products of at most this size; all of it is disposed of with the result. */
export async function createStrassenScratch(
  { memory }: Gpu,
  largest: ProductSize,
): Promise<StrassenScratch & Disposable> {
  const buffers = await memory.allocateAll(strassenRequests(largest));
  const [left, right, products, scales] = buffers;
  return {
    left,
    right,
    products,
    scales,
    [Symbol.dispose]: () => buffers.forEach((buffer) => buffer[Symbol.dispose]()),
  };
}

export type StrassenOptions = LinearProduct & { readonly bDtype: FloatDtype };

/**
 * Whether a product gains by it: sums of quadrants take half at most of the time that they save. By shape alone, so that results
 * do not depend on a measurement of each.
 */
export function isForStrassen({ m, n, k }: ProductSize): boolean {
  if (k % MULTIPLE.k > 0 || n % LAST_N > 0) return false;
  const savedOperations = (2 * m * n * k) / 8;
  // Seven planes of quadrants are as large as 7/4 matrices.
  const movedBytes = 4 * (m * k + m * n) * (1 + PLANES / 4) + n * k * (2 + PLANES);
  return savedOperations > 2 * OPERATIONS_A_BYTE * movedBytes;
}

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
  const { m, n, k } = options;
  checkAlignment(options);
  invariant(n % LAST_N === 0 && k % MULTIPLE.k === 0, "quadrants are whole loads");
  for (const rows of chunks(m, "m")) {
    for (const inputs of chunks(k, "k")) {
      const a = partOf(options.a, rows.first, inputs.first);
      const b = partOf(options.b, 0, inputs.first);
      const size = { m: rows.size, n, k: inputs.size };
      await findColumns(gpu, scratch, { ...options, b }, size);
      await makeOperand(gpu, scratch, "left", { ...a, dtype: "F32" }, size);
      for (const outputs of chunks(n, "n")) {
        const own = { ...size, n: outputs.size };
        await makeOperand(
          gpu,
          scratch,
          "right",
          { ...partOf(b, outputs.first, 0), dtype: options.bDtype },
          own,
        );
        await multiply(gpu, scratch, own);
        const c = partOf(options.c, rows.first, outputs.first);
        const accumulate = (options.accumulate ?? false) || inputs.first > 0;
        await makeResult(gpu, scratch, { c, alpha: options.alpha ?? 1, accumulate }, own);
      }
    }
  }
}

/** Even cuts, none larger than a chunk. */
function* chunks(total: number, along: keyof ProductSize): Generator<{ first: number; size: number }> {
  const [most, multiple] = [CHUNK[along], MULTIPLE[along]];
  const even = Math.ceil(total / Math.ceil(total / most) / multiple) * multiple;
  for (let first = 0; first < total; first += even) yield { first, size: Math.min(even, total - first) };
}

/** The largest chunk of products of at most this size, in whole tiles. */
function chunkOf(largest: ProductSize): ProductSize {
  const along = (name: keyof ProductSize) =>
    Math.min(CHUNK[name], Math.ceil(largest[name] / MULTIPLE[name]) * MULTIPLE[name]);
  return { m: along("m"), n: along("n"), k: along("k") };
}

function partOf(matrix: Matrix, row: number, column: number): Matrix {
  return { ...matrix, offset: (matrix.offset ?? 0) + row * matrix.stride + column };
}

/** Where the scales of both sides' rows begin. */
function scalePlaces({ m, k }: ProductSize) {
  return { left: k, right: k + Math.ceil(m / 2) * 2 };
}

async function findColumns(
  gpu: Gpu,
  { scales }: StrassenScratch,
  { b, bDtype }: Pick<StrassenOptions, "b" | "bDtype">,
  { n: rows, k: columns }: ProductSize,
): Promise<void> {
  await gpu.queue.run(strassenColumnsKernel, {
    params: { rows, columns, stride: b.stride, offset: b.offset ?? 0 },
    buffers: { values: b.buffer, scales },
    constants: { DTYPE: DTYPE_CODE[bDtype] },
    workgroups: [Math.ceil(columns / COLUMNS_WORKGROUP)],
    work: rows * columns,
  });
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
        rows_at: scalePlaces(size)[side],
        plane: pairs * half,
      },
      buffers: { values: matrix.buffer, scales: scratch.scales, planes: scratch[side] },
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
  { products, scales }: StrassenScratch,
  to: { readonly c: Matrix; readonly alpha: number; readonly accumulate: boolean },
  size: ProductSize,
): Promise<void> {
  const { c, alpha, accumulate } = to;
  const half = size.n / 2;
  const pairs = Math.ceil(size.m / 2);
  const places = scalePlaces(size);
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
      buffers: { products, scales, c: c.buffer },
      constants: { ACCUMULATE: Number(accumulate) },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}
