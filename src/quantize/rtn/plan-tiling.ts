// How large the tiles of a data-free job are: as large as the GPU budget allows, so that the peak is known before the
// job and does not depend on the number of layers.

import { DeviceLimitError } from "../../errors.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import { QUEUE_BYTES } from "../../gpu/queue/paced-queue.ts";
import { readbackRingBytes } from "../../gpu/staging/readback-ring.ts";
import { type RingSize, ringBytes } from "../../gpu/staging/ring-pieces.ts";
import { POWER_TABLE_BYTES, type PowerTable, powerTableFor, powerTableKey } from "../observe/power-table.ts";
import {
  type RtnTask,
  TILE_BUFFER_NAMES,
  tileBufferBytes,
  type TileBuffers,
  tileRowMultiple,
} from "./tile-buffers.ts";

/** How a weight is cut, and how many of its tiles are under way at once. */
interface TileShape {
  /** Source bytes of the largest tile. */
  readonly tileBytes: number;
  readonly slots: number;
  /** Pieces of the ring on the way to the GPU, and of that on the way back. */
  readonly pieces: { readonly upload: number; readonly readback: number };
}

/** Larger tiles made nothing faster. One is uploaded while one computes and one is read back. */
const LARGE: TileShape = { tileBytes: 16 * 1024 ** 2, slots: 3, pieces: { upload: 2, readback: 2 } };
/** Weights such as experts', of which each is a tile, wait for the GPU's process longer than for the GPU: more at once, in as many bytes. */
const SMALL: TileShape = { tileBytes: 4 * 1024 ** 2, slots: 12, pieces: { upload: 4, readback: 12 } };
const MIN_TILE_BYTES = 16 * 1024;
const MAX_PIECE_BYTES = 16 * 1024 ** 2;

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
  let least: Tiling | null = null;
  for (const shape of shapesFor(tasks)) {
    least = tilingOf(tasks, shape);
    if (least.peakBytes <= budgetBytes) return least;
  }
  throw new DeviceLimitError(
    `The GPU budget of ${formatBytes(budgetBytes)} is too small even for a few rows at a time: ${formatBytes(least?.peakBytes ?? 0)} is the least for this model and recipe.`,
  );
}

/** The best one first. */
function* shapesFor(tasks: readonly RtnTask[]): Generator<TileShape> {
  if (areMostlySmall(tasks)) yield SMALL;
  for (let { tileBytes } = LARGE; tileBytes >= MIN_TILE_BYTES; tileBytes /= 2) yield { ...LARGE, tileBytes };
}

/** True if at least half of all bytes are of weights that are a small tile each. */
function areMostlySmall(tasks: readonly RtnTask[]): boolean {
  const sizes = tasks.map(({ rows, columns, dtype }) => (rows * columns * DTYPE_BITS[dtype]) / 8);
  const sum = (some: readonly number[]) => some.reduce((total, size) => total + size, 0);
  return sum(sizes.filter((size) => size <= SMALL.tileBytes)) >= sum(sizes) / 2;
}

function tilingOf(tasks: readonly RtnTask[], { tileBytes, slots, pieces }: TileShape): Tiling {
  const largest = Object.fromEntries(TILE_BUFFER_NAMES.map((name) => [name, 0])) as Record<
    keyof TileBuffers,
    number
  >;
  for (const task of tasks) {
    const sizes = tileBufferBytes(task, tileRows(task, tileBytes));
    for (const name of TILE_BUFFER_NAMES) largest[name] = Math.max(largest[name], bufferBytes(sizes[name]));
  }
  const pieceOf = (bytes: number) => Math.min(bytes, MAX_PIECE_BYTES);
  const upload = { pieceBytes: pieceOf(largest.source), pieces: pieces.upload };
  const readback = { pieceBytes: pieceOf(largest.codes), pieces: pieces.readback };
  const slotBytes = TILE_BUFFER_NAMES.reduce((sum, name) => sum + largest[name], 0);
  const powerTables = powerTablesOf(tasks);
  const tableBytes = powerTables.length * POWER_TABLE_BYTES;
  const peakBytes =
    QUEUE_BYTES + ringBytes(upload) + readbackRingBytes(readback) + tableBytes + slots * slotBytes;
  return { slots, tileBytes, buffers: largest, powerTables, upload, readback, peakBytes };
}

function powerTablesOf(tasks: readonly RtnTask[]): PowerTable[] {
  const tables = tasks
    .map(({ dtype, weights }) => powerTableFor(weights, dtype))
    .filter((table) => table !== null);
  return [...new Map(tables.map((table) => [powerTableKey(table), table])).values()];
}
