// What one Linear says to a search: how large its columns are, and what it loses under each candidate. Its rows come tile after
// tile, so that the largest fits any budget. All of it stays on the GPU until a group of mappings is done.

import { hasGlobalScale } from "../../formats/schemes/compression-format.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { addLowerProduct } from "../../gpu/triangular/lower-product.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { observeRange } from "../observe/observe-weight.ts";
import type { Range } from "../observe/scan-weight.ts";
import {
  candidateErrors,
  candidateExtremes,
  SHARE_LANES,
  type CandidateRange,
  columnShares,
  type LossRows,
  rowLosses,
} from "./awq-kernels.ts";
import {
  errorStride,
  type LinearMemory,
  searchGrid,
  type SearchedTask,
  type SearchMemory,
} from "./search-memory.ts";

export interface SearchServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly memory: SearchMemory;
  /** How many candidates there are. */
  readonly total: number;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
}

/** A Linear, and what brings rows of its weight, as they lie in the source, to a buffer. */
export interface SearchedLinear<Task extends SearchedTask = SearchedTask> {
  readonly task: Task;
  load(firstRow: number, rows: number, to: LedgerBuffer): Promise<void>;
}

/** What all Linears of a group have left behind, in host memory. */
export type Found = Float32Array;

/** Σ |w| / (max |w| of its group) of each column, over all rows, by lane. */
export async function sumColumnShares(services: SearchServices, linear: SearchedLinear): Promise<void> {
  const { gpu, memory } = services;
  const { ranges, counts } = memory.tiles;
  await eachTile(services, linear, async (rows, firstRow) => {
    const weight = gpuWeight(linear, rows, memory);
    const grid = searchGrid(linear.task, rows);
    await gpu.queue.clear(counts);
    await observeRange(gpu, weight, grid, ranges, counts);
    await columnShares(gpu, weight, grid, { ranges, sums: memory.of(linear.task).shares }, firstRow);
  });
}

/** Those sums, of all lanes together. */
export function readColumnShares(found: Found, { task }: SearchedLinear, memory: SearchMemory): Float32Array {
  const { columns } = task;
  const sums = partOf(found, memory.of(task).shares, SHARE_LANES * columns).slice();
  for (let half = SHARE_LANES / 2; half >= 1; half /= 2) {
    for (let at = 0; at < half * columns; at++) sums[at] = (sums[at] ?? 0) + (sums[at + half * columns] ?? 0);
  }
  return sums.subarray(0, columns);
}

/** Range of the whole scaled weight under each candidate, whose factors are uploaded. */
export async function findRanges(services: SearchServices, linear: SearchedLinear): Promise<void> {
  const { gpu, memory, total } = services;
  const { shape, factors, results } = memory.of(linear.task);
  await eachTile(services, linear, async (rows, firstRow) => {
    for (const turn of inTurns(total, shape.candidates)) {
      const weight = gpuWeight(linear, rows, memory);
      const first_extreme = firstRow * total + turn.first * rows;
      await candidateExtremes(gpu, weight, turn, { factors, extremes: results }, first_extreme);
    }
  });
}

/** Those ranges, by candidate. */
export function readRanges(
  found: Found,
  { task }: SearchedLinear,
  { memory, total }: SearchServices,
): Range[] {
  const { shape, results } = memory.of(task);
  const ends = partOf(found, results, total * task.rows * 2);
  const ranges: Range[] = Array.from({ length: total }, () => [0, 0]);
  for (let firstRow = 0; firstRow < task.rows; firstRow += shape.rows) {
    const rows = Math.min(shape.rows, task.rows - firstRow);
    for (let candidate = 0; candidate < total; candidate++) {
      const first = firstRow * total + candidate * rows;
      for (let at = first; at < first + rows; at++) {
        const [low, high] = ranges[candidate] ?? [0, 0];
        ranges[candidate] = [Math.min(low, ends[2 * at] ?? 0), Math.max(high, ends[2 * at + 1] ?? 0)];
      }
    }
  }
  return ranges;
}

/** For the part `known`: the global scale of a fused set, or the range of a weight with one scale, by candidate. */
export function knownOf(
  task: SearchedTask,
  own: readonly Range[],
  ofSet: readonly (readonly Range[])[],
  total: number,
): Float32Array<ArrayBuffer> {
  const known = new Float32Array(total * 4);
  for (let candidate = 0; candidate < total; candidate++) {
    if (hasGlobalScale(task.weights)) {
      const ranges = ofSet.map((each) => each[candidate] ?? ([0, 0] as const));
      const amax = Math.max(...ranges.map(([low, high]) => Math.max(-low, high)));
      known[candidate * 4] = globalScale(amax, task.dtype);
    } else if (task.weights.strategy === "tensor") {
      known.set([0, ...(own[candidate] ?? [0, 0]), 1], candidate * 4);
    }
  }
  return known;
}

/**
 * The squared error of a Linear's output under each candidate, whose factors are uploaded, and its squared output, by rows:
 * e H eᵀ. `hessian` has zeros above its diagonal, which lies in the tile's buffer.
 */
export async function findLosses(
  services: SearchServices,
  linear: SearchedLinear,
  hessian: TriangularMatrix,
): Promise<void> {
  const { gpu, memory, total } = services;
  const { task } = linear;
  const { shape, factors, known } = memory.of(task);
  const { weights, columns } = task;
  const stride = errorStride(columns);
  const buffers = { factors, known, errors: memory.tiles.errors };
  await eachTile(services, linear, async (rows, firstRow) => {
    const grid = searchGrid(task, rows);
    const weight = { ...gpuWeight(linear, rows, memory), args: weights, grid };
    await candidateErrors(gpu, weight, "all", buffers, stride);
    await losses(services, task, hessian, { rows, columns, stride, first_loss: firstRow });
    for (const turn of inTurns(total, shape.candidates)) {
      await services.checkpoint();
      await candidateErrors(gpu, weight, turn, buffers, stride);
      const first_loss = task.rows + firstRow * total + turn.first * rows;
      await losses(services, task, hessian, { rows: turn.count * rows, columns, stride, first_loss });
    }
  });
}

/** ½ e H eᵀ of each row of the errors on the GPU. */
async function losses(
  { gpu, memory }: SearchServices,
  task: SearchedTask,
  hessian: TriangularMatrix,
  shape: LossRows,
): Promise<void> {
  const { errors, products, diagonal } = memory.tiles;
  const { rows, stride } = shape;
  await gpu.queue.clear(products, 0, rows * stride * 4);
  await addLowerProduct(gpu, hessian, {
    m: rows,
    a: { buffer: errors, stride },
    c: { buffer: products, stride },
  });
  await rowLosses(gpu, { errors, products, diagonal, losses: memory.of(task).results }, shape);
}

/** What `findLosses` found, as shares of the Linear's squared output: tr(E H Eᵀ) / tr(W H Wᵀ). Null if it gives out nothing. */
export function readErrors(
  found: Found,
  { task }: SearchedLinear,
  { memory, total }: SearchServices,
): Float64Array | null {
  const { shape, results } = memory.of(task);
  const { rows: all } = task;
  const lost = partOf(found, results, (total + 1) * all);
  const output = sum(lost, 0, all);
  if (!(output > 0)) return null;
  const errors = new Float64Array(total);
  for (let firstRow = 0; firstRow < all; firstRow += shape.rows) {
    const rows = Math.min(shape.rows, all - firstRow);
    for (let candidate = 0; candidate < total; candidate++) {
      const first = all + firstRow * total + candidate * rows;
      errors[candidate] = sum(lost, first, rows, errors[candidate]);
    }
  }
  return errors.map((error) => error / output);
}

function partOf(found: Found, { offset }: LinearMemory["results"], count: number): Float32Array {
  return found.subarray(offset / 4, offset / 4 + count);
}

/** In float64, one after the other. */
function sum(values: Float32Array, first: number, count: number, before = 0): number {
  let total = before;
  for (let at = first; at < first + count; at++) total += values[at] ?? 0;
  return total;
}

/** Brings the rows of a Linear into `source`, tile after tile. */
async function eachTile(
  services: SearchServices,
  linear: SearchedLinear,
  work: (rows: number, firstRow: number) => Promise<void>,
): Promise<void> {
  const { task } = linear;
  const { memory } = services;
  const { shape } = memory.of(task);
  for (let firstRow = 0; firstRow < task.rows; firstRow += shape.rows) {
    await services.checkpoint();
    const rows = Math.min(shape.rows, task.rows - firstRow);
    await linear.load(firstRow, rows, memory.tiles.source);
    await work(rows, firstRow);
  }
}

function* inTurns(total: number, each: number): Generator<CandidateRange> {
  for (let first = 0; first < total; first += each) yield { first, count: Math.min(each, total - first) };
}

function gpuWeight({ task }: SearchedLinear, rows: number, { tiles }: SearchMemory) {
  return { weights: tiles.source, dtype: task.dtype, rows, columns: task.columns };
}
