// The GPU buffers of a tile: some whole rows of one weight. Planner and pipeline use the same sizes.

import {
  type CellGrid,
  cellGrid,
  type CodeStorage,
  codeStorage,
  packedRowBytes,
  packsZeroPoints,
  scaleStorage,
} from "../../formats/schemes/compression-format.ts";
import { DTYPE_BITS, type FloatDtype } from "../../formats/numbers/dtype.ts";
import {
  type CompressionFormat,
  type QuantizationArgs,
  usesImportance,
} from "../../formats/schemes/quantization-args.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { NarrowDtype } from "../../gpu/elements/narrow.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import { observedGrid } from "../observe/observe-tile.ts";
import { statisticsBytes } from "../observe/tile-statistics.ts";

/** What is quantized to what: one Linear of a plan. */
export interface RtnTask {
  readonly module: string;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
  readonly weights: QuantizationArgs;
  readonly format: CompressionFormat;
}

export interface TileBuffers {
  /** The tile's weights in the bytes that they have in the source. */
  readonly source: LedgerBuffer;
  readonly ranges: LedgerBuffer;
  /** Least error of each cell and what gave it, for the observers that search. */
  readonly best: LedgerBuffer;
  readonly scales: LedgerBuffer;
  readonly zeroPoints: LedgerBuffer;
  readonly codes: LedgerBuffer;
  readonly storedScales: LedgerBuffer;
  readonly storedZeroPoints: LedgerBuffer;
  /**
   * u32 words: how many NaN or Inf; 2^32 − 1 minus the index of the first; magnitudes of the smallest and the largest
   * weight, as float32; then one word for each step of a search.
   */
  readonly statistics: LedgerBuffer;
  /** One float32 a column, for the observers `imatrix_mse` and `hessian_mse`; see importance.ts. */
  readonly importance: LedgerBuffer;
}

export const TILE_BUFFER_NAMES = [
  "source",
  "ranges",
  "best",
  "scales",
  "zeroPoints",
  "codes",
  "storedScales",
  "storedZeroPoints",
  "statistics",
  "importance",
] as const satisfies readonly (keyof TileBuffers)[];

/** Rows that tiles are cut at: whole words of packed zero points, or whole blocks. */
export function tileRowMultiple(task: RtnTask): number {
  return task.weights.strategy === "block" ? (task.weights.block_structure?.[0] ?? 32) : 32;
}

export interface TileLayout {
  /** Cells that share a scale. */
  readonly grid: CellGrid;
  /** Cells whose ranges are observed: rows, where the whole tensor shares a scale. */
  readonly observed: CellGrid;
  readonly storage: CodeStorage;
  readonly scaleDtype: NarrowDtype;
}

export function tileLayout(task: RtnTask, rows: number): TileLayout {
  const grid = cellGrid(task.weights, rows, task.columns);
  const scaleDtypes = { dtype: task.dtype, e4m3: "F8_E4M3", e8m0: "F8_E8M0" } as const;
  return {
    grid,
    observed: observedGrid(task.weights, rows, task.columns),
    storage: codeStorage(task.weights, task.format),
    scaleDtype: scaleDtypes[scaleStorage(task.weights)],
  };
}

export function cellCount(grid: CellGrid): number {
  return grid.cellsPerColumn * grid.cellsPerRow;
}

/** Bytes of each GPU buffer that a tile of `rows` rows needs. */
export function tileBufferBytes(task: RtnTask, rows: number): Record<keyof TileBuffers, number> {
  const { grid, observed, storage, scaleDtype } = tileLayout(task, rows);
  const cells = cellCount(grid);
  const searches = mseSettings(task.weights) !== null;
  return {
    source: (rows * task.columns * DTYPE_BITS[task.dtype]) / 8,
    ranges: cellCount(observed) * 8,
    best: searches ? cellCount(observed) * 8 : 0,
    scales: cells * 4,
    zeroPoints: cells * 4,
    codes: codeBytes(task, storage, rows),
    storedScales: (cells * DTYPE_BITS[scaleDtype]) / 8,
    storedZeroPoints: task.weights.symmetric ? 0 : zeroPointBytes(task, grid),
    statistics: statisticsBytes(searches),
    importance: usesImportance(task.weights) ? task.columns * 4 : 0,
  };
}

function codeBytes(task: RtnTask, storage: CodeStorage, rows: number): number {
  if (storage.rowsPadded) return rows * packedRowBytes(task.columns, storage.storedBits);
  return Math.ceil((rows * task.columns * storage.storedBits) / 8);
}

function zeroPointBytes(task: RtnTask, grid: CellGrid): number {
  if (!packsZeroPoints(task.weights, task.format)) return cellCount(grid);
  return packedRowBytes(grid.cellsPerColumn, task.weights.num_bits) * grid.cellsPerRow;
}

/** GPU bytes of all buffers of one tile. */
export function tileBytes(task: RtnTask, rows: number): number {
  const sizes = tileBufferBytes(task, rows);
  return TILE_BUFFER_NAMES.reduce((sum, name) => sum + bufferBytes(sizes[name]), 0);
}
