// Buffers of a tile under GPTQ: names, and bytes by the rows of the tile.

import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { POWER_TABLE_BYTES, powerTableFor } from "../observe/power-table.ts";
import { REFINE_BUFFER_NAMES, refineBufferBytes } from "../refine/refine-tile.ts";
import { tileBufferBytes } from "../rtn/tile-buffers.ts";
import { driftOf, type GptqTask, refinementOf } from "./gptq-task.ts";

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

/** Floats from row to row of what a tile works in. */
export function floatStrideOf(columns: number): number {
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
