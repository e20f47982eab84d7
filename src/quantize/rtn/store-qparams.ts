// Scales and zero points of a tile to the bytes that the file holds.

import { packsZeroPoints } from "../../formats/schemes/compression-format.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { narrow } from "../../gpu/elements/narrow.ts";
import { packCodes, packColumns, packRows } from "../encode/encode-weight.ts";
import { cellCount, type RtnTask, type TileBuffers, tileLayout } from "./tile-buffers.ts";

/** Records the kernels that narrow a tile's scales and pack its zero points, if it has some. */
export async function storeQparams(
  gpu: Gpu,
  task: RtnTask,
  rows: number,
  buffers: Pick<TileBuffers, "scales" | "zeroPoints" | "storedScales" | "storedZeroPoints">,
): Promise<void> {
  const { grid, storage, scaleDtype } = tileLayout(task, rows);
  await narrow(gpu, buffers.scales, buffers.storedScales, cellCount(grid), scaleDtype);
  if (task.weights.symmetric) return;
  const layout = packsZeroPoints(task.weights, task.format)
    ? packColumns(grid.cellsPerColumn, grid.cellsPerRow, storage)
    : packRows(1, cellCount(grid), { ...storage, storedBits: 8, storedOffset: 0 });
  await packCodes(gpu, buffers.zeroPoints, buffers.storedZeroPoints, layout);
}
