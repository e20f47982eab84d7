// How large the tiles of a data-free job are: as large as the GPU budget allows, so that the peak is known before the
// job and does not depend on the number of layers.

import { DeviceLimitError } from "../../errors.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import { QUEUE_BYTES } from "../../gpu/queue/paced-queue.ts";
import { readbackRingBytes, type RingSize, ringBytes } from "../../gpu/staging/staging.ts";
import { POWER_TABLE_BYTES, type PowerTable, powerTableFor, powerTableKey } from "../observe/power-table.ts";
import {
  type RtnTask,
  TILE_BUFFER_NAMES,
  tileBufferBytes,
  type TileBuffers,
  tileRowMultiple,
} from "./tile-buffers.ts";

/** Source bytes of the largest tile: larger ones made nothing faster. */
const MAX_TILE_BYTES = 16 * 1024 ** 2;
const MIN_TILE_BYTES = 16 * 1024;
const MAX_PIECE_BYTES = 16 * 1024 ** 2;
/** One tile is uploaded while one computes and one is read back. */
const SLOTS = 3;
const RING_PIECES = 2;

export interface Tiling {
  readonly slots: number;
  readonly tileBytes: number;
  /** Bytes of each buffer of a slot: the most that any tile of the job needs. */
  readonly buffers: Readonly<Record<keyof TileBuffers, number>>;
  /** Tables of powers for searching observers: dtype and exponent. */
  readonly powerTables: readonly PowerTable[];
  readonly upload: RingSize;
  readonly readback: RingSize;
  /** All of it, and what the queue itself takes. */
  readonly peakBytes: number;
}

/** Rows of `task` that one tile takes. */
export function tileRows(task: RtnTask, tileBytes: number): number {
  const multiple = tileRowMultiple(task);
  const rowBytes = (task.columns * DTYPE_BITS[task.dtype]) / 8;
  const rows = Math.max(Math.floor(tileBytes / rowBytes / multiple), 1) * multiple;
  return Math.min(rows, task.rows);
}

/**
 * The largest tiles that fit the budget.
 * @throws DeviceLimitError if the smallest ones do not, naming the budget that would do.
 */
export function planTiling(tasks: readonly RtnTask[], budgetBytes: number): Tiling {
  let tileBytes = MAX_TILE_BYTES;
  let tiling = tilingOf(tasks, tileBytes);
  while (tiling.peakBytes > budgetBytes && tileBytes > MIN_TILE_BYTES) {
    tileBytes /= 2;
    tiling = tilingOf(tasks, tileBytes);
  }
  if (tiling.peakBytes <= budgetBytes) return tiling;
  throw new DeviceLimitError(
    `The GPU budget of ${formatBytes(budgetBytes)} is too small even for a few rows at a time: ${formatBytes(tiling.peakBytes)} is the least for this model and recipe.`,
  );
}

function tilingOf(tasks: readonly RtnTask[], tileBytes: number): Tiling {
  const largest = Object.fromEntries(TILE_BUFFER_NAMES.map((name) => [name, 0])) as Record<
    keyof TileBuffers,
    number
  >;
  for (const task of tasks) {
    const sizes = tileBufferBytes(task, tileRows(task, tileBytes));
    for (const name of TILE_BUFFER_NAMES) largest[name] = Math.max(largest[name], bufferBytes(sizes[name]));
  }
  const pieceOf = (bytes: number) => ({ pieceBytes: Math.min(bytes, MAX_PIECE_BYTES), pieces: RING_PIECES });
  const upload = pieceOf(largest.source);
  const readback = pieceOf(largest.codes);
  const slotBytes = TILE_BUFFER_NAMES.reduce((sum, name) => sum + largest[name], 0);
  const powerTables = powerTablesOf(tasks);
  const tableBytes = powerTables.length * POWER_TABLE_BYTES;
  const peakBytes =
    QUEUE_BYTES + ringBytes(upload) + readbackRingBytes(readback) + tableBytes + SLOTS * slotBytes;
  return { slots: SLOTS, tileBytes, buffers: largest, powerTables, upload, readback, peakBytes };
}

function powerTablesOf(tasks: readonly RtnTask[]): PowerTable[] {
  const tables = tasks
    .map(({ dtype, weights }) => powerTableFor(weights, dtype))
    .filter((table) => table !== null);
  return [...new Map(tables.map((table) => [powerTableKey(table), table])).values()];
}
