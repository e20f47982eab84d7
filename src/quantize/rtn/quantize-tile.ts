// Round to nearest of a tile: some whole rows of one weight. Range, scale, codes, packed bytes; nothing leaves the GPU in
// between. Where all rows share a scale (strategy "tensor", NVFP4's global scale), all tiles are observed first.

import { packsZeroPoints } from "../../formats/compression-format.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { narrow } from "../../gpu/narrow.ts";
import { encodeWeight, packCodes, packColumns, packRows } from "../encode/encode-weight.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import {
  computeQparams,
  NO_STATISTICS,
  observeExtremes,
  observeRange,
  type TensorStatistics,
} from "../observe/observe-weight.ts";
import { measureMse, type MseSearch, searchMse } from "../observe/search-mse.ts";
import { cellCount, type RtnTask, tileBufferBytes, type TileBuffers, tileLayout } from "./tile-buffers.ts";

/** Which rows of a weight a tile is. */
export interface TileRows {
  readonly firstRow: number;
  readonly rows: number;
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

/** A part of an output tensor that a tile gives: `bytes` of `buffer` go to `offset` of the tensor. */
export interface TilePart {
  readonly tensor: string;
  readonly buffer: LedgerBuffer;
  readonly bytes: number;
  readonly offset: number;
}

/**
 * Records the kernels that find the range of each cell of the rows in `buffers.source`, and the tile's extremes in
 * `buffers.statistics`.
 */
export async function observeTile(
  gpu: Gpu,
  task: RtnTask,
  rows: number,
  buffers: TileBuffers,
  context: TileContext,
): Promise<void> {
  await observeCells(gpu, task, rows, buffers, context);
  await observeExtremes(gpu, buffers.ranges, cellCount(tileLayout(task, rows).observed), buffers.statistics);
}

/** Records the kernels that measure what error each step's share of the tensor's range would have in this tile. */
export async function measureTile(
  gpu: Gpu,
  task: RtnTask,
  rows: number,
  buffers: TileBuffers,
  context: TileContext,
): Promise<void> {
  const search = mseSearch(task, rows, buffers, context);
  await gpu.queue.clear(buffers.statistics);
  if (search && context.statistics.range) await measureMse(gpu, search, context.statistics.range);
}

/** Records the kernels for the rows whose weights are in `buffers.source`; returns what to read back. */
export async function quantizeTile(
  gpu: Gpu,
  task: RtnTask,
  tile: TileRows,
  buffers: TileBuffers,
  context: TileContext,
): Promise<TilePart[]> {
  const { rows } = tile;
  const { grid, storage, scaleDtype } = tileLayout(task, rows);
  const { statistics } = context;
  if (statistics.range) await gpu.queue.clear(buffers.statistics);
  else await observeCells(gpu, task, rows, buffers, context);
  const qparams = { scales: buffers.scales, zero_points: buffers.zeroPoints };
  const cells = cellCount(grid);
  await computeQparams(gpu, task.weights, task.dtype, cells, {
    ranges: buffers.ranges,
    ...qparams,
    known: statistics,
  });
  const layout = { grid, storage, globalScale: statistics.globalScale ?? 0 };
  await encodeWeight(gpu, gpuWeight(task, rows, buffers), task.weights, layout, {
    ...qparams,
    codes: buffers.codes,
  });
  await narrow(gpu, buffers.scales, buffers.storedScales, cells, scaleDtype);
  if (!task.weights.symmetric) await storeZeroPoints(gpu, task, rows, buffers);
  return tileParts(task, tile, buffers);
}

function gpuWeight(task: RtnTask, rows: number, buffers: TileBuffers) {
  return { weights: buffers.source, dtype: task.dtype, rows, columns: task.columns };
}

async function observeCells(
  gpu: Gpu,
  task: RtnTask,
  rows: number,
  buffers: TileBuffers,
  context: TileContext,
): Promise<void> {
  const { observed } = tileLayout(task, rows);
  await gpu.queue.clear(buffers.statistics);
  await observeRange(gpu, gpuWeight(task, rows, buffers), observed, buffers.ranges, buffers.statistics);
  const search = task.weights.strategy === "tensor" ? null : mseSearch(task, rows, buffers, context);
  if (search) await searchMse(gpu, search, context.steps ?? search.settings.steps);
}

function mseSearch(
  task: RtnTask,
  rows: number,
  buffers: TileBuffers,
  context: TileContext,
): MseSearch | null {
  const settings = mseSettings(task.weights);
  if (!settings) return null;
  return {
    weight: gpuWeight(task, rows, buffers),
    args: task.weights,
    grid: tileLayout(task, rows).observed,
    settings,
    ranges: buffers.ranges,
    best: buffers.best,
    statistics: buffers.statistics,
    powers: context.powers,
  };
}

async function storeZeroPoints(gpu: Gpu, task: RtnTask, rows: number, buffers: TileBuffers): Promise<void> {
  const { grid, storage } = tileLayout(task, rows);
  const layout = packsZeroPoints(task.weights, task.format)
    ? packColumns(grid.cellsPerColumn, grid.cellsPerRow, storage)
    : packRows(1, cellCount(grid), { ...storage, storedBits: 8, storedOffset: 0 });
  await packCodes(gpu, buffers.zeroPoints, buffers.storedZeroPoints, layout);
}

function tileParts(task: RtnTask, { firstRow, rows }: TileRows, buffers: TileBuffers): TilePart[] {
  const sizes = tileBufferBytes(task, rows);
  const before = tileBufferBytes(task, firstRow);
  // One scale serves the whole tensor: every tile gives the same, to the same place.
  const once = task.weights.strategy === "tensor";
  const { storage } = tileLayout(task, rows);
  const codes = storage.rowsPadded || storage.kind === "e2m1" ? "weight_packed" : "weight";
  const part = (
    tensor: string,
    name: "codes" | "storedScales" | "storedZeroPoints",
    offset = before[name],
  ): TilePart => ({ tensor: `${task.module}.${tensor}`, buffer: buffers[name], bytes: sizes[name], offset });
  const parts = [part(codes, "codes"), part("weight_scale", "storedScales", once ? 0 : before.storedScales)];
  if (task.weights.symmetric) return parts;
  return [...parts, part("weight_zero_point", "storedZeroPoints", once ? 0 : before.storedZeroPoints)];
}
