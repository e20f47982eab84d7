// What one Linear says to a search: how large its columns are, and what it loses under each candidate. Its rows come tile after
// tile, so that the largest fits any budget.

import { hasGlobalScale } from "../../formats/compression-format.ts";
import { globalScale } from "../../formats/global-scale.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import { addLowerProduct } from "../../gpu/triangular/lower-product.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { observeRange } from "../observe/observe-weight.ts";
import type { Range } from "../observe/scan-weight.ts";
import {
  candidateErrors,
  candidateExtremes,
  type CandidateRange,
  columnShares,
  rowLosses,
} from "./awq-kernels.ts";
import { errorStride, type SearchBuffers, searchGrid, type ShapedTask } from "./search-memory.ts";

export interface SearchServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  readonly buffers: SearchBuffers;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
}

/** A Linear with rows of its weight as they lie in the source. */
export interface SearchedLinear extends ShapedTask {
  rowsAt(firstRow: number, rows: number): Uint8Array<ArrayBuffer>;
}

/** True for weights whose tiles cannot be rounded without having seen all of them. */
export function sharesScale({ task: { weights } }: ShapedTask): boolean {
  return weights.strategy === "tensor" || hasGlobalScale(weights);
}

/** Σ |w| / (max |w| of its group) of each column, over all rows. */
export async function sumColumnShares(
  services: SearchServices,
  linear: SearchedLinear,
): Promise<Float64Array> {
  const { gpu, readbacks, buffers } = services;
  const { columns } = linear.task;
  const sums = new Float64Array(columns);
  await eachTile(services, linear, async (rows) => {
    const weight = gpuWeight(linear, rows, buffers);
    const grid = searchGrid(linear.task, rows);
    await gpu.queue.clear(buffers.counts);
    await observeRange(gpu, weight, grid, buffers.ranges, buffers.counts);
    await columnShares(gpu, weight, grid, { ranges: buffers.ranges, sums: buffers.shares });
    const tile = new Float32Array((await readbacks.readBytes(buffers.shares, 0, columns * 4)).buffer);
    for (let column = 0; column < columns; column++) sums[column] = (sums[column] ?? 0) + (tile[column] ?? 0);
  });
  return sums;
}

/** Range of the whole scaled weight under each candidate, whose factors are uploaded. */
export async function candidateRanges(
  services: SearchServices,
  linear: SearchedLinear,
  total: number,
): Promise<Range[]> {
  const { gpu, readbacks, buffers } = services;
  const ranges: Range[] = Array.from({ length: total }, () => [0, 0]);
  await eachTile(services, linear, async (rows) => {
    for (const { first, count } of inTurns(total, linear.shape.candidates)) {
      const weight = gpuWeight(linear, rows, buffers);
      const { factors, results: extremes } = buffers;
      await candidateExtremes(gpu, weight, { first, count }, { factors, extremes });
      const found = new Float32Array((await readbacks.readBytes(extremes, 0, count * rows * 8)).buffer);
      for (let index = 0; index < count * rows; index++) {
        const candidate = first + Math.floor(index / rows);
        const [low, high] = ranges[candidate] ?? [0, 0];
        ranges[candidate] = [Math.min(low, found[2 * index] ?? 0), Math.max(high, found[2 * index + 1] ?? 0)];
      }
    }
  });
  return ranges;
}

/** For the buffer `known`: the global scale of a fused set, or the range of a weight with one scale, by candidate. */
export function knownOf(
  { task }: ShapedTask,
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
 * The squared error of a Linear's output under each candidate, whose factors are uploaded, over its squared output:
 * tr(E H Eᵀ) / tr(W H Wᵀ). Null if it gives out nothing. `hessian` has zeros above its diagonal.
 */
export async function relativeErrors(
  services: SearchServices,
  linear: SearchedLinear,
  hessian: TriangularMatrix,
  total: number,
): Promise<Float64Array | null> {
  const { gpu, buffers } = services;
  const { weights, columns } = linear.task;
  const stride = errorStride(columns);
  const errors = new Float64Array(total);
  let output = 0;
  await eachTile(services, linear, async (rows) => {
    const grid = searchGrid(linear.task, rows);
    const weight = { ...gpuWeight(linear, rows, buffers), args: weights, grid };
    await candidateErrors(gpu, weight, "all", buffers, stride);
    output += sum(await losses(services, hessian, { rows, columns, stride }));
    for (const { first, count } of inTurns(total, linear.shape.candidates)) {
      await services.checkpoint();
      await candidateErrors(gpu, weight, { first, count }, buffers, stride);
      const found = await losses(services, hessian, { rows: count * rows, columns, stride });
      for (let candidate = 0; candidate < count; candidate++) {
        const own = found.subarray(candidate * rows, (candidate + 1) * rows);
        errors[first + candidate] = (errors[first + candidate] ?? 0) + sum(own);
      }
    }
  });
  return output > 0 ? errors.map((error) => error / output) : null;
}

/** ½ e H eᵀ of each row of the errors on the GPU. */
async function losses(
  { gpu, readbacks, buffers }: SearchServices,
  hessian: TriangularMatrix,
  shape: { readonly rows: number; readonly columns: number; readonly stride: number },
): Promise<Float32Array> {
  const { errors, products, diagonal, results } = buffers;
  const { rows, stride } = shape;
  await gpu.queue.clear(products, 0, rows * stride * 4);
  await addLowerProduct(gpu, hessian, {
    m: rows,
    a: { buffer: errors, stride },
    c: { buffer: products, stride },
  });
  await rowLosses(gpu, { errors, products, diagonal, losses: results }, shape);
  return new Float32Array((await readbacks.readBytes(results, 0, rows * 4)).buffer);
}

/** In float64. */
function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Brings the rows of a Linear into `source`, tile after tile. */
async function eachTile(
  services: SearchServices,
  linear: SearchedLinear,
  work: (rows: number) => Promise<void>,
): Promise<void> {
  const { task, shape } = linear;
  for (let firstRow = 0; firstRow < task.rows; firstRow += shape.rows) {
    await services.checkpoint();
    const rows = Math.min(shape.rows, task.rows - firstRow);
    await services.uploads.write(linear.rowsAt(firstRow, rows), services.buffers.source);
    await work(rows);
  }
}

function* inTurns(total: number, each: number): Generator<CandidateRange> {
  for (let first = 0; first < total; first += each) yield { first, count: Math.min(each, total - first) };
}

function gpuWeight({ task }: ShapedTask, rows: number, { source }: SearchBuffers) {
  return { weights: source, dtype: task.dtype, rows, columns: task.columns };
}
