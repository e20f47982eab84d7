// Which products Strassen's algorithm takes, in what chunks, and the scratch that it needs.

import pLimit from "p-limit";
import type { BufferRequest, GpuMemory, LedgerBuffer } from "../../memory.ts";

/** Rows of activations, rows of a weight and columns of both. */
export interface ProductSize {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Products of quadrants: planes of each operand, one behind the other. */
export const PLANES = 7;
/**
 * What is computed at once of large batches, so that scratch is bounded: 560 MiB at most. Chunks of k are added up in c, so that they, and no others, have a
 * part in what results round to.
 */
const CHUNK: ProductSize = { m: 8192, n: 4096, k: 4096 };
/**
 * Where batches are small, more of the weight's rows: with fewer results at once the last tiles of a chunk leave a large GPU idle for a
 * good part of its time. An H200, 2,048 tokens by up of 70B, TFLOP/s: 41.4 by plain products, 40.2 with 4,096 rows at once, 45.8 with 8,192.
 */
const ENOUGH_RESULTS = 4096 * 4096;
/** Chunks end with whole tiles of both halves; the last one of n with whole loads of them, and that of k with whole steps. */
const MULTIPLE: ProductSize = { m: 256, n: 256, k: 32 };
const LAST_N = 8;
/** Bytes that a GPU moves while it computes 12 operations in float32: 45 TFLOP/s and 3.8 TB/s of an H200, and less of most. */
const OPERATIONS_A_BYTE = 12;

/** How large scratch is. */
export interface StrassenSize {
  /** What it is made for. */
  readonly largest: ProductSize;
  /** What is computed at once. */
  readonly chunk: ProductSize;
}

/** Scratch of Strassen's products, which take turns in it. */
export interface StrassenScratch extends StrassenSize {
  readonly left: LedgerBuffer;
  readonly right: LedgerBuffer;
  readonly products: LedgerBuffer;
  /** The largest magnitudes of the weight's columns. */
  readonly columnSizes: LedgerBuffer;
  /** Those of rows: of the left side, then of the right side. */
  readonly rowSizes: LedgerBuffer;
  /** Records a product when all of the one before it is recorded. */
  readonly inTurn: (record: () => Promise<void>) => Promise<void>;
}

/** The buffers for products of at most this size. */
export function strassenRequests({ largest, chunk }: StrassenSize) {
  const { m, n, k } = chunkOf(largest, chunk);
  const planes = (rows: number, columns: number) => (PLANES * rows * columns * 4) / 4;
  return [
    { label: "Strassen: left operands", bytes: planes(m, k) },
    { label: "Strassen: right operands", bytes: planes(n, k) },
    { label: "Strassen: products", bytes: planes(m, n) },
    { label: "Strassen: sizes of columns", bytes: k * 4 },
    { label: "Strassen: sizes of rows", bytes: (m + n) * 4 },
  ] as const satisfies readonly BufferRequest[];
}

/** Allocates scratch; all of it is disposed of with the result. */
export async function createStrassenScratch(
  memory: GpuMemory,
  { largest, chunk }: StrassenSize,
): Promise<StrassenScratch & Disposable> {
  const buffers = await memory.allocateAll(strassenRequests({ largest, chunk }));
  const [left, right, products, columnSizes, rowSizes] = buffers;
  return {
    largest,
    chunk,
    left,
    right,
    products,
    columnSizes,
    rowSizes,
    inTurn: pLimit(1),
    [Symbol.dispose]: () => buffers.forEach((buffer) => buffer[Symbol.dispose]()),
  };
}

/**
 * Whether a product gains by it: sums of quadrants take half at most of the time that they save. By shape alone, so that results
 * do not depend on a measurement of each.
 */
export function isForStrassen(size: ProductSize): boolean {
  const { m, n, k } = size;
  const savedOperations = (2 * m * n * k) / 8;
  // Seven planes of quadrants are as large as 7/4 matrices; each chunk of k is added to the results.
  const results = m * n * Math.ceil(k / CHUNK.k);
  const movedBytes = 4 * (m * k + results) * (1 + PLANES / 4) + n * k * (2 + PLANES);
  return areWhole(size) && savedOperations > 2 * OPERATIONS_A_BYTE * movedBytes;
}

/** Whether quadrants are read and written in whole loads. */
export function areWhole({ n, k }: ProductSize): boolean {
  return k % MULTIPLE.k === 0 && n % LAST_N === 0;
}

/** Whether scratch that was made for products of the one size holds one of the other. */
export function holds({ largest, chunk }: StrassenSize, size: ProductSize): boolean {
  const [room, wanted] = [chunkOf(largest, chunk), chunkOf(size, chunk)];
  return room.m >= wanted.m && room.n >= wanted.n && room.k >= wanted.k;
}

/** Even cuts of a size, none larger than a chunk. */
export function* chunks(
  { chunk }: Pick<StrassenSize, "chunk">,
  along: keyof ProductSize,
  total: number,
): Generator<{ first: number; size: number }> {
  const multiple = MULTIPLE[along];
  const even = Math.ceil(total / Math.ceil(total / chunk[along]) / multiple) * multiple;
  for (let first = 0; first < total; first += even) yield { first, size: Math.min(even, total - first) };
}

/** The least scratch for products of at most this size. */
export function leastStrassen(largest: ProductSize): StrassenSize {
  return { largest, chunk: CHUNK };
}

/** Scratch for products of at most this size: what is fastest first, then the least, with which they end in the same bits. */
export function strassenSizes(largest: ProductSize): StrassenSize[] {
  const least = leastStrassen(largest);
  const n = Math.ceil(ENOUGH_RESULTS / Math.min(largest.m, CHUNK.m) / MULTIPLE.n) * MULTIPLE.n;
  return n > CHUNK.n ? [{ largest, chunk: { ...CHUNK, n } }, least] : [least];
}

/** The largest chunk of products of at most this size, in whole tiles. */
function chunkOf(largest: ProductSize, chunk: ProductSize): ProductSize {
  const along = (name: keyof ProductSize) =>
    Math.min(chunk[name], Math.ceil(largest[name] / MULTIPLE[name]) * MULTIPLE[name]);
  return { m: along("m"), n: along("n"), k: along("k") };
}
