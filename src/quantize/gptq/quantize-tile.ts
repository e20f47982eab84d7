// GPTQ of a tile: some whole rows of one Linear, which share their input's Hessian but no error. Scales first, from the
// original weights; then block after block from the column of largest activation to the smallest. Where a modifier rounds to
// nearest instead, all codes at once.

import { cellGrid } from "../../formats/schemes/compression-format.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import type { RefineSettings } from "../../formats/modifiers/gptq.ts";
import { driftShare, type QuantizingModifier } from "../../formats/recipe/recipe.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { rowSquares } from "../../gpu/elements/row-squares.ts";
import {
  addLowerProduct,
  addSpanProduct,
  type ColumnRange,
  columnSpans,
  panelAt,
} from "../../gpu/triangular/lower-product.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { packCodes, packRows } from "../encode/encode-weight.ts";
import {
  type ObserveBuffers,
  observeCells,
  type ObservedWeight,
  type TileContext,
} from "../observe/observe-tile.ts";
import { computeQparams } from "../observe/observe-weight.ts";
import { POWER_TABLE_BYTES, powerTableFor } from "../observe/power-table.ts";
import { REFINE_BUFFER_NAMES, refineBufferBytes, refineTile } from "../refine/refine-tile.ts";
import { storeQparams } from "../rtn/store-qparams.ts";
import { type RtnTask, tileBufferBytes, tileLayout } from "../rtn/tile-buffers.ts";
import { type Drift, driftTargets } from "./drift-targets.ts";
import type { FactoredHessian } from "./factor-hessian.ts";
import {
  dequantizeCodes,
  divideScales,
  gatherColumns,
  type GptqTile,
  rtnErrors,
  WALK_BLOCK,
  walkBlock,
} from "./gptq-kernels.ts";

/** One Linear, and the modifier that says what is done to its codes. */
export interface GptqTask extends RtnTask {
  /** Absent for plain GPTQ. */
  readonly modifier?: QuantizingModifier;
}

/** What is done to a module's codes once all are chosen; null for nothing. */
export function refinementOf({ modifier }: GptqTask): RefineSettings | null {
  return modifier?.settings?.refine ?? null;
}

/** The share of the inputs' drift that a module's codes answer for; 0 for none. */
export function driftOf({ modifier }: GptqTask): number {
  return modifier ? driftShare(modifier) : 0;
}

/** What the kernels of a tile work in. `order`, `groupOf` and `walk` serve all tiles of a module. */
export const WORK_BUFFER_NAMES = [
  "source",
  "ranges",
  "best",
  "powers",
  "importance",
  "scales",
  "zeroPoints",
  "pushed",
  "errors",
  "codes",
  "dequantized",
  "order",
  "groupOf",
  "drift",
  ...REFINE_BUFFER_NAMES,
] as const;

/** What is read back of a tile. */
export const RESULT_BUFFER_NAMES = [
  "packed",
  "storedScales",
  "storedZeroPoints",
  "losses",
  "rtnLosses",
  "statistics",
] as const;

export type WorkBuffers = Readonly<Record<(typeof WORK_BUFFER_NAMES)[number], LedgerBuffer>>;
export type ResultBuffers = Readonly<Record<(typeof RESULT_BUFFER_NAMES)[number], LedgerBuffer>>;
export type GptqBuffers = WorkBuffers & ResultBuffers;

/** Columns whose errors are pushed onto all columns before them at once. */
const SPAN = 1024;

function floatStrideOf(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}

type BufferSizes = Readonly<Record<keyof GptqBuffers, number>>;

/** By the rows of tiles: a plan asks for the same ones for each way of fitting a layer. */
const sizesOf = new WeakMap<GptqTask, Map<number, BufferSizes>>();

/** Bytes of each buffer for a tile of `rows` rows. */
export function gptqBufferBytes(task: GptqTask, rows: number): BufferSizes {
  const known = sizesOf.get(task) ?? new Map<number, BufferSizes>();
  sizesOf.set(task, known);
  const sizes = known.get(rows) ?? countBytes(task, rows);
  known.set(rows, sizes);
  return sizes;
}

function countBytes(task: GptqTask, rows: number): BufferSizes {
  const { columns, weights, dtype } = task;
  const { codes: packed, ...shared } = tileBufferBytes(task, rows);
  const refines = refinementOf(task) !== null;
  const floats = rows * floatStrideOf(columns) * 4;
  return {
    ...shared,
    packed,
    powers: powerTableFor(weights, dtype) ? POWER_TABLE_BYTES : 0,
    pushed: floats,
    errors: floats,
    codes: rows * columns * 4,
    dequantized: (rows * columns * DTYPE_BITS[dtype]) / 8,
    losses: rows * 4,
    rtnLosses: rows * 4,
    order: columns * 16,
    groupOf: columns * 4,
    drift: driftOf(task) > 0 ? floats : 0,
    ...refineBufferBytes(refines ? rows : 0, refines ? columns : 0),
  };
}

/** GPU bytes of a tile's buffers. */
export function gptqTileBytes(task: GptqTask, rows: number): number {
  const sizes = Object.values(gptqBufferBytes(task, rows));
  return sizes.reduce((sum, bytes) => sum + bufferBytes(bytes), 0);
}

export interface ColumnTables {
  /** For the buffer `order`: four u32 a place. */
  readonly order: Uint32Array<ArrayBuffer>;
  /** For `groupOf`, and for `weight_g_idx`: the group of each column of the weight. */
  readonly groupOf: Uint32Array<ArrayBuffer>;
}

/**
 * Which group each column belongs to. actorder "group" forms groups in the order of quantization (and needs
 * `weight_g_idx`); otherwise a column keeps the group of its place in the weight.
 */
export function columnTables(
  { order, dead }: Pick<FactoredHessian, "order" | "dead">,
  args: QuantizationArgs,
): ColumnTables {
  const n = order.length;
  const size = args.group_size ?? args.block_structure?.[1] ?? n;
  const table = new Uint32Array(n * 4);
  const groupOf = new Uint32Array(n);
  order.forEach((original, place) => {
    const position = args.actorder === "group" ? n - 1 - place : original;
    const group = Math.floor(position / size);
    table.set([original, group, dead[original] ?? 0, 0], place * 4);
    groupOf[original] = group;
  });
  return { order: table, groupOf };
}

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
  } else await walkAll(gpu, tile, factor, buffers);
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

/**
 * Quantizes block after block, from the last column to the first. A block's errors go to the rest of its span at once,
 * and a span's errors to all columns before it in one product, which fills the GPU and reads the rest only once.
 */
async function walkAll(
  gpu: Gpu,
  tile: GptqTile,
  factor: TriangularMatrix,
  buffers: GptqBuffers,
): Promise<void> {
  const stride = floatStrideOf(tile.columns);
  const { pushed, codes, errors } = buffers;
  for (const span of columnSpans(factor, SPAN).toReversed()) {
    const { panel, buffer } = panelAt(factor, span.first);
    for (let end = span.end; end > span.first;) {
      const first = Math.floor((end - 1) / WALK_BLOCK) * WALK_BLOCK;
      const block = { first, end, panel: buffer, panelFirstRow: panel.firstRow, panelStride: panel.stride };
      await walkBlock(gpu, tile, block, { pushed, codes, errors }, stride);
      await pushErrors(gpu, factor, buffers, tile, { from: block, to: { first: span.first, end: first } });
      end = first;
    }
    await pushErrors(gpu, factor, buffers, tile, { from: span, to: { first: 0, end: span.first } });
  }
}

/** pushed[:, to] += errors[:, from] · L[from, to]. */
async function pushErrors(
  gpu: Gpu,
  factor: TriangularMatrix,
  { errors, pushed }: GptqBuffers,
  tile: GptqTile,
  ranges: { readonly from: ColumnRange; readonly to: ColumnRange },
): Promise<void> {
  const stride = floatStrideOf(tile.columns);
  const product = { m: tile.rows, a: { buffer: errors, stride }, c: { buffer: pushed, stride } };
  await addSpanProduct(gpu, factor, product, ranges);
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
