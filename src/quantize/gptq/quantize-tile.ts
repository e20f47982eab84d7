// GPTQ of a tile: some whole rows of one Linear, which share their input's Hessian but no error. Scales first, from the
// original weights; then block after block from the column of largest activation to the smallest. Where a modifier rounds to
// nearest instead, all codes at once.

import { cellGrid } from "../../formats/schemes/compression-format.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { rowSquares } from "../../gpu/elements/row-squares.ts";
import { addLowerProduct } from "../../gpu/triangular/lower-product.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { packCodes, packRows } from "../encode/encode-weight.ts";
import {
  type ObserveBuffers,
  observeCells,
  type ObservedWeight,
  type TileContext,
} from "../observe/observe-tile.ts";
import { computeQparams } from "../observe/observe-weight.ts";
import { refineTile } from "../refine/refine-tile.ts";
import { storeQparams } from "../rtn/store-qparams.ts";
import { type RtnTask, tileLayout } from "../rtn/tile-buffers.ts";
import { type Drift, driftTargets } from "./drift-targets.ts";
import { floatStrideOf, type GptqBuffers } from "./gptq-buffers.ts";
import { dequantizeCodes, divideScales, gatherColumns, type GptqTile, rtnErrors } from "./gptq-kernels.ts";
import { type GptqTask, refinementOf } from "./gptq-task.ts";
import { walkTile } from "./walk-tile.ts";

/**
 * Records all kernels for a tile whose source bytes and column tables are uploaded, and the importance of its columns if its
 * observer wants it.
 */
export async function quantizeTileGptq(
  gpu: Gpu,
  task: GptqTask,
  factor: TriangularMatrix,
  { rows, ...context }: GptqTileContext,
  buffers: GptqBuffers,
): Promise<void> {
  const tile = tileOf(task, rows, buffers);
  const shape = { rows, columns: task.columns, stride: floatStrideOf(task.columns) };
  const { pushed, errors } = buffers;
  await chooseScales(gpu, task, tile, context, buffers);
  const { stride } = shape;
  const begin = await targetsOf(gpu, tile, factor, context.drift ?? null, buffers);
  await begin();
  const product = { m: rows, a: { buffer: errors, stride }, c: { buffer: pushed, stride } };
  const rounds = task.modifier?.name === "QuantizationModifier";
  if (rounds) {
    await rtnErrors(gpu, tile, buffers, stride, true);
    await addLowerProduct(gpu, factor, product);
  } else await walkTile(gpu, tile, factor, buffers);
  // before a refinement has moved the scales
  if (!rounds) await rtnErrors(gpu, tile, buffers, stride);
  const refinement = refinementOf(task);
  if (refinement) {
    const globalScale = context.statistics.globalScale ?? 0;
    await refineTile(gpu, { ...tile, globalScale }, factor, buffers, refinement);
    await storeRefined(gpu, task, tile, globalScale, buffers);
  }
  await rowSquares(gpu, pushed, shape, buffers.losses);
  await storeCodes(gpu, task, tile, buffers);
  await begin();
  await addLowerProduct(gpu, factor, product);
  await rowSquares(gpu, pushed, shape, buffers.rtnLosses);
}

export interface GptqTileContext extends TileContext {
  readonly rows: number;
  /** How far targets are from the weights; absent where they are the weights. */
  readonly drift?: Drift | null;
}

/** Makes (T − W) L of the targets T, and resolves to what puts it into `pushed`: zeros where targets are the weights. */
async function targetsOf(
  gpu: Gpu,
  tile: GptqTile,
  factor: TriangularMatrix,
  drift: Drift | null,
  buffers: GptqBuffers,
): Promise<() => Promise<void>> {
  const { pushed, drift: kept } = buffers;
  const stride = floatStrideOf(tile.columns);
  const bytes = tile.rows * stride * 4;
  if (!drift) return async () => await gpu.queue.clear(pushed, 0, bytes);
  await driftTargets(gpu, tile, factor, drift, { ...buffers, stride });
  return async () => await gpu.queue.copy({ of: kept, offset: 0 }, { of: pushed, offset: 0 }, bytes);
}

function tileOf(task: RtnTask, rows: number, buffers: GptqBuffers): GptqTile {
  return {
    rows,
    columns: task.columns,
    dtype: task.dtype,
    args: task.weights,
    grid: cellGrid(task.weights, rows, task.columns),
    weights: buffers.source,
    order: buffers.order,
    scales: buffers.scales,
    zero_points: buffers.zeroPoints,
  };
}

/** Scales and zero points from the original weights, as `scales` and `zeroPoints` and as the file holds them. */
async function chooseScales(
  gpu: Gpu,
  task: RtnTask,
  tile: GptqTile,
  context: TileContext,
  buffers: GptqBuffers,
): Promise<void> {
  const { statistics } = context;
  const cells = tile.grid.cellsPerColumn * tile.grid.cellsPerRow;
  if (statistics.range) await gpu.queue.clear(buffers.statistics);
  else {
    const seen = await observedTile(gpu, task, tile.rows, buffers);
    await observeCells(gpu, seen.weight, tile.rows, seen.buffers, context);
  }
  const { ranges, scales, zeroPoints: zero_points } = buffers;
  await computeQparams(gpu, task.weights, task.dtype, cells, {
    ranges,
    scales,
    zero_points,
    known: statistics,
  });
  await storeQparams(gpu, task, tile.rows, buffers);
  if (statistics.globalScale !== null) await divideScales(gpu, scales, cells, statistics.globalScale);
}

/** Refined scales as the file holds them: those of groups without the global one, which rounding finds again. */
async function storeRefined(
  gpu: Gpu,
  task: RtnTask,
  { rows, grid }: GptqTile,
  globalScale: number,
  buffers: GptqBuffers,
): Promise<void> {
  if (globalScale === 0) {
    await storeQparams(gpu, task, rows, buffers);
    return;
  }
  const { scales, ranges } = buffers;
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  await gpu.queue.copy({ of: scales, offset: 0 }, { of: ranges, offset: 0 }, cells * 4);
  await divideScales(gpu, ranges, cells, 1 / globalScale);
  await storeQparams(gpu, task, rows, { ...buffers, scales: ranges });
}

/** A tile as its observer sees it: with actorder "group" in float32, columns in the order of quantization. */
export async function observedTile(
  gpu: Gpu,
  task: RtnTask,
  rows: number,
  buffers: GptqBuffers,
): Promise<{ readonly weight: ObservedWeight; readonly buffers: ObserveBuffers }> {
  if (task.weights.actorder !== "group") return { weight: task, buffers };
  await gatherColumns(gpu, tileOf(task, rows, buffers), buffers.pushed, task.columns, "quantization");
  return { weight: { ...task, dtype: "F32" }, buffers: { ...buffers, source: buffers.pushed } };
}

async function storeCodes(gpu: Gpu, task: RtnTask, tile: GptqTile, buffers: GptqBuffers): Promise<void> {
  const { storage } = tileLayout(task, tile.rows);
  const layout = storage.rowsPadded
    ? packRows(tile.rows, tile.columns, storage)
    : packRows(1, tile.rows * tile.columns, storage);
  await packCodes(gpu, buffers.codes, buffers.packed, layout);
  const { codes, groupOf, dequantized } = buffers;
  await dequantizeCodes(gpu, tile, { codes, group_of: groupOf, words: dequantized });
}
