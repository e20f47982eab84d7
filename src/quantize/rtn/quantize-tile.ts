// Round to nearest of a tile: some whole rows of one weight. Range, scale, codes, packed bytes; nothing leaves the GPU in
// between. Where all rows share a scale (strategy "tensor", NVFP4's global scale), all tiles are observed first.

import { codesTensor } from "../../formats/weights/dequantize.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { encodeWeight } from "../encode/encode-weight.ts";
import { observeCells, type TileContext } from "../observe/observe-tile.ts";
import { computeQparams } from "../observe/observe-weight.ts";
import { storeQparams } from "./store-qparams.ts";
import { cellCount, type RtnTask, tileBufferBytes, type TileBuffers, tileLayout } from "./tile-buffers.ts";

/** Which rows of a weight a tile is. */
export interface TileRows {
  readonly firstRow: number;
  readonly rows: number;
}

/** A part of an output tensor that a tile gives: `bytes` of `buffer` go to `offset` of the tensor. */
export interface TilePart {
  readonly tensor: string;
  readonly buffer: LedgerBuffer;
  readonly bytes: number;
  readonly offset: number;
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
  const { grid, storage } = tileLayout(task, rows);
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
  await storeQparams(gpu, task, rows, buffers);
  return tileParts(task, tile, buffers);
}

function gpuWeight(task: RtnTask, rows: number, buffers: TileBuffers) {
  return { weights: buffers.source, dtype: task.dtype, rows, columns: task.columns };
}

function tileParts(task: RtnTask, { firstRow, rows }: TileRows, buffers: TileBuffers): TilePart[] {
  const sizes = tileBufferBytes(task, rows);
  const before = tileBufferBytes(task, firstRow);
  // One scale serves the whole tensor: every tile gives the same, to the same place.
  const once = task.weights.strategy === "tensor";
  const codes = codesTensor({ args: task.weights, format: task.format });
  const part = (
    tensor: string,
    name: "codes" | "storedScales" | "storedZeroPoints",
    offset = before[name],
  ): TilePart => ({ tensor: `${task.module}.${tensor}`, buffer: buffers[name], bytes: sizes[name], offset });
  const parts = [part(codes, "codes"), part("weight_scale", "storedScales", once ? 0 : before.storedScales)];
  if (task.weights.symmetric) return parts;
  return [...parts, part("weight_zero_point", "storedZeroPoints", once ? 0 : before.storedZeroPoints)];
}
