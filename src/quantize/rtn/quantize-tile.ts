// Round to nearest of a tile: some whole rows of one weight, which share no scale with other rows. Range, scale, codes,
// packed bytes; nothing leaves the GPU in between.

import {
  cellGrid,
  codeStorage,
  packedRowBytes,
  type CodeStorage,
  type CellGrid,
} from "../../formats/compression-format.ts";
import { DTYPE_BITS, type FloatDtype } from "../../formats/dtype.ts";
import type { CompressionFormat, QuantizationArgs } from "../../formats/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type LedgerBuffer, bufferBytes } from "../../gpu/memory.ts";
import { narrow } from "../../gpu/narrow.ts";
import { encodeWeight, packCodes, packColumns } from "../encode/encode-weight.ts";
import { computeQparams, observeRange } from "../observe/observe-weight.ts";

/** What is quantized to what: one Linear of a plan. */
export interface RtnTask {
  readonly module: string;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
  readonly weights: QuantizationArgs;
  readonly format: CompressionFormat;
}

/** Rows that tiles are cut at: whole words of packed zero points, whole blocks, whole words of one-byte codes. */
export function tileRowMultiple(task: RtnTask): number {
  return task.weights.strategy === "block" ? (task.weights.block_structure?.[0] ?? 32) : 32;
}

/** Bytes of each GPU buffer that a tile of `rows` rows needs. */
export function tileBufferBytes(task: RtnTask, rows: number): Record<keyof TileBuffers, number> {
  const { grid, storage } = tileLayout(task, rows);
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  return {
    source: (rows * task.columns * DTYPE_BITS[task.dtype]) / 8,
    ranges: cells * 8,
    scales: cells * 4,
    zeroPoints: cells * 4,
    codes: codeBytes(task, storage, rows),
    storedScales: (cells * DTYPE_BITS[task.dtype]) / 8,
    storedZeroPoints: task.weights.symmetric ? 0 : zeroPointBytes(task, grid),
    nonfinite: 8,
  };
}

export interface TileBuffers {
  /** The tile's bytes as they lie in the source. */
  readonly source: LedgerBuffer;
  readonly ranges: LedgerBuffer;
  readonly scales: LedgerBuffer;
  readonly zeroPoints: LedgerBuffer;
  readonly codes: LedgerBuffer;
  readonly storedScales: LedgerBuffer;
  readonly storedZeroPoints: LedgerBuffer;
  /** Two u32: how many NaN or Inf, and 2^32 − 1 minus the index of the first. */
  readonly nonfinite: LedgerBuffer;
}

export const TILE_BUFFER_NAMES = [
  "source",
  "ranges",
  "scales",
  "zeroPoints",
  "codes",
  "storedScales",
  "storedZeroPoints",
  "nonfinite",
] as const satisfies readonly (keyof TileBuffers)[];

/** A part of an output tensor that a tile gives: `bytes` of `buffer` go to `offset` of the tensor. */
export interface TilePart {
  readonly tensor: string;
  readonly buffer: LedgerBuffer;
  readonly bytes: number;
  readonly offset: number;
}

/** Records the kernels for the rows from `firstRow`, whose bytes are in `buffers.source`; returns what to read back. */
export async function quantizeTile(
  gpu: Gpu,
  task: RtnTask,
  firstRow: number,
  rows: number,
  buffers: TileBuffers,
): Promise<TilePart[]> {
  const { grid, storage } = tileLayout(task, rows);
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  const weight = { weights: buffers.source, dtype: task.dtype, rows, columns: task.columns };
  await gpu.queue.clear(buffers.nonfinite);
  await observeRange(gpu, weight, grid, buffers.ranges, buffers.nonfinite);
  const qparams = { scales: buffers.scales, zero_points: buffers.zeroPoints };
  await computeQparams(gpu, task.weights, task.dtype, cells, { ranges: buffers.ranges, ...qparams });
  await encodeWeight(gpu, weight, task.weights, { grid, storage }, { ...qparams, codes: buffers.codes });
  await narrow(gpu, buffers.scales, buffers.storedScales, cells, task.dtype);
  if (!task.weights.symmetric) {
    const layout = packColumns(grid.cellsPerColumn, grid.cellsPerRow, storage);
    await packCodes(gpu, buffers.zeroPoints, buffers.storedZeroPoints, layout);
  }
  return tileParts(task, firstRow, rows, buffers);
}

function tileParts(task: RtnTask, firstRow: number, rows: number, buffers: TileBuffers): TilePart[] {
  const sizes = tileBufferBytes(task, rows);
  const before = tileBufferBytes(task, firstRow);
  const codes = task.format === "pack-quantized" ? "weight_packed" : "weight";
  const parts: TilePart[] = [
    { tensor: codes, buffer: buffers.codes, bytes: sizes.codes, offset: before.codes },
    {
      tensor: "weight_scale",
      buffer: buffers.storedScales,
      bytes: sizes.storedScales,
      offset: before.storedScales,
    },
  ];
  if (!task.weights.symmetric) {
    const offset = before.storedZeroPoints;
    const bytes = sizes.storedZeroPoints;
    parts.push({ tensor: "weight_zero_point", buffer: buffers.storedZeroPoints, bytes, offset });
  }
  return parts.map((part) => ({ ...part, tensor: `${task.module}.${part.tensor}` }));
}

function tileLayout(task: RtnTask, rows: number): { grid: CellGrid; storage: CodeStorage } {
  return {
    grid: cellGrid(task.weights, rows, task.columns),
    storage: codeStorage(task.weights, task.format),
  };
}

function codeBytes(task: RtnTask, storage: CodeStorage, rows: number): number {
  if (storage.rowsPadded) return rows * packedRowBytes(task.columns, storage.storedBits);
  return rows * task.columns;
}

function zeroPointBytes(task: RtnTask, grid: CellGrid): number {
  const bits = task.format === "pack-quantized" ? task.weights.num_bits : 8;
  return packedRowBytes(grid.cellsPerColumn, bits) * grid.cellsPerRow;
}

/** GPU bytes of all buffers of one tile. */
export function tileBytes(task: RtnTask, rows: number): number {
  const sizes = tileBufferBytes(task, rows);
  return TILE_BUFFER_NAMES.reduce((sum, name) => sum + bufferBytes(sizes[name]), 0);
}
