// Ranges of a tile: some whole rows of one weight on the GPU, whichever algorithm then chooses the codes.

import { type CellGrid, cellGrid, hasGlobalScale } from "../../formats/schemes/compression-format.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { mseSettings } from "./mse-settings.ts";
import {
  type GpuWeight,
  NO_STATISTICS,
  observeExtremes,
  observeRange,
  type TensorStatistics,
} from "./observe-weight.ts";
import { measureMse, type MseSearch, searchMse } from "./search-mse.ts";
import { searchWeightedRanges, type WeightedSearch } from "./weighted-ranges.ts";

/** What is observed: rows of a weight of so many columns. */
export interface ObservedWeight {
  readonly dtype: FloatDtype;
  readonly columns: number;
  readonly weights: QuantizationArgs;
}

/** A tile's bytes as they lie in the source, and what is found out about them; see `TileBuffers`. */
export interface ObserveBuffers {
  readonly source: LedgerBuffer;
  readonly ranges: LedgerBuffer;
  readonly best: LedgerBuffer;
  readonly statistics: LedgerBuffer;
  readonly importance: LedgerBuffer;
}

/** What a tile is quantized with beside its own weights. */
export interface TileContext {
  readonly statistics: TensorStatistics;
  /** Steps that a searching observer takes, or null for all of them. */
  readonly steps: number | null;
  /** Table of powers for a searching observer of 16-bit weights. */
  readonly powers: BufferPart | null;
}

export const PLAIN_CONTEXT: TileContext = { statistics: NO_STATISTICS, steps: null, powers: null };

/** Cells whose ranges are observed: those that share a scale, or rows where the whole tensor shares it. */
export function observedGrid(args: QuantizationArgs, rows: number, columns: number): CellGrid {
  if (args.strategy !== "tensor") return cellGrid(args, rows, columns);
  return { cellRows: 1, cellColumns: columns, cellsPerColumn: rows, cellsPerRow: 1 };
}

/**
 * Records the kernels that find the range of each cell of the rows in `buffers.source`, and the tile's extremes in
 * `buffers.statistics`.
 */
export async function observeTile(
  gpu: Gpu,
  task: ObservedWeight,
  rows: number,
  buffers: ObserveBuffers,
  context: TileContext,
): Promise<void> {
  const { cellsPerColumn, cellsPerRow } = observedGrid(task.weights, rows, task.columns);
  await observeCells(gpu, task, rows, buffers, context);
  await observeExtremes(gpu, buffers.ranges, cellsPerColumn * cellsPerRow, buffers.statistics);
}

/** Records the kernels that measure what error each step's share of the tensor's range would have in this tile. */
export async function measureTile(
  gpu: Gpu,
  task: ObservedWeight,
  rows: number,
  buffers: ObserveBuffers,
  context: TileContext,
): Promise<void> {
  const search = mseSearch(task, rows, buffers, context);
  await gpu.queue.clear(buffers.statistics);
  if (search && context.statistics.range) await measureMse(gpu, search, context.statistics.range);
}

/** Records the kernels that find the range of each cell; `statistics` count what is not finite, and a search's steps. */
export async function observeCells(
  gpu: Gpu,
  task: ObservedWeight,
  rows: number,
  buffers: ObserveBuffers,
  context: TileContext,
): Promise<void> {
  const grid = observedGrid(task.weights, rows, task.columns);
  await gpu.queue.clear(buffers.statistics);
  await observeRange(gpu, gpuWeight(task, rows, buffers), grid, buffers.ranges, buffers.statistics);
  const search = task.weights.strategy === "tensor" ? null : mseSearch(task, rows, buffers, context);
  if (search) await searchMse(gpu, search, context.steps ?? search.settings.steps);
  const weighted = weightedSearch(task, rows, buffers, context);
  if (weighted) await searchWeightedRanges(gpu, weighted);
}

function gpuWeight({ dtype, columns }: ObservedWeight, rows: number, { source }: ObserveBuffers): GpuWeight {
  return { weights: source, dtype, rows, columns };
}

/** Null for other observers, and for groups whose global scale is not known yet: that follows from their plain ranges. */
function weightedSearch(
  task: ObservedWeight,
  rows: number,
  buffers: ObserveBuffers,
  { statistics }: TileContext,
): WeightedSearch | null {
  const args = task.weights;
  const { globalScale } = statistics;
  if (args.observer !== "hessian_mse" || (hasGlobalScale(args) && globalScale === null)) return null;
  return {
    weight: gpuWeight(task, rows, buffers),
    args,
    grid: observedGrid(args, rows, task.columns),
    importance: buffers.importance,
    ranges: buffers.ranges,
    globalScale: globalScale ?? 0,
  };
}

function mseSearch(
  task: ObservedWeight,
  rows: number,
  buffers: ObserveBuffers,
  { powers }: TileContext,
): MseSearch | null {
  const settings = mseSettings(task.weights);
  if (!settings) return null;
  return {
    weight: gpuWeight(task, rows, buffers),
    args: task.weights,
    grid: observedGrid(task.weights, rows, task.columns),
    settings,
    ranges: buffers.ranges,
    best: buffers.best,
    statistics: buffers.statistics,
    powers,
    importance: buffers.importance,
  };
}
