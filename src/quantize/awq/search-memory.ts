// The GPU memory of a search: tiles of some whole rows of one Linear, for as many candidates as fit at once.

import { type CellGrid, cellGrid } from "../../formats/compression-format.ts";
import { DTYPE_BITS } from "../../formats/dtype.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import type { QuantizerTask } from "../quantizer.ts";
import { tileRowMultiple } from "../rtn/tile-buffers.ts";

/** What is searched: a Linear and what it becomes. */
export type SearchedTask = Pick<
  QuantizerTask,
  "module" | "dtype" | "rows" | "columns" | "weights" | "format"
>;

const BUFFER_NAMES = [
  "source",
  "ranges",
  "counts",
  "shares",
  "factors",
  "known",
  "errors",
  "products",
  "results",
  "diagonal",
] as const;

export type SearchBuffers = Readonly<Record<(typeof BUFFER_NAMES)[number], LedgerBuffer>>;

/** Rows of a tile, and candidates that are at work at once. */
export interface SearchShape {
  readonly rows: number;
  readonly candidates: number;
}

/** Larger searches were no faster. */
export const MAX_SEARCH_BYTES = 512 * 1024 ** 2;

export function errorStride(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}

/** Cells of a tile; of a weight with one scale for all, whose range is known by then, rows. */
export function searchGrid({ weights, columns }: SearchedTask, rows: number): CellGrid {
  if (weights.strategy !== "tensor") return cellGrid(weights, rows, columns);
  return { cellRows: 1, cellColumns: columns, cellsPerColumn: rows, cellsPerRow: 1 };
}

function searchSizes(
  task: SearchedTask,
  { rows, candidates }: SearchShape,
  total: number,
): Record<keyof SearchBuffers, number> {
  const { cellsPerColumn, cellsPerRow } = searchGrid(task, rows);
  const floats = candidates * rows * errorStride(task.columns) * 4;
  return {
    source: (rows * task.columns * DTYPE_BITS[task.dtype]) / 8,
    ranges: cellsPerColumn * cellsPerRow * 8,
    counts: 8,
    shares: task.columns * 4,
    factors: total * task.columns * 4,
    known: total * 16,
    errors: floats,
    products: floats,
    results: candidates * rows * 8,
    diagonal: task.columns * 4,
  };
}

export interface ShapedTask {
  readonly task: SearchedTask;
  readonly shape: SearchShape;
}

/** Shapes for Linears that share buffers: the largest within `freeBytes`, if any. `total` candidates are tried. */
export function shapeTasks<Task extends SearchedTask>(
  tasks: readonly Task[],
  total: number,
  freeBytes: number,
  maxBufferBytes: number,
): (ShapedTask & { readonly task: Task })[] {
  let room = Math.min(freeBytes, MAX_SEARCH_BYTES);
  for (;;) {
    const shaped = tasks.map((task) => ({ task, shape: searchShape(task, total, room, maxBufferBytes) }));
    if (searchBytes(shaped, total) <= freeBytes || room < 1) return shaped;
    room = Math.floor(room / 2);
  }
}

/** Fewer rows first, then fewer candidates. */
function searchShape(task: SearchedTask, total: number, room: number, maxBufferBytes: number): SearchShape {
  const multiple = tileRowMultiple(task);
  let rows = Math.ceil(task.rows / multiple) * multiple;
  let tried = total;
  for (;;) {
    const shape = { rows: Math.min(rows, task.rows), candidates: tried };
    const sizes = Object.values(searchSizes(task, shape, total));
    const bytes = sizes.reduce((sum, size) => sum + bufferBytes(size), 0);
    if (bytes <= room && Math.max(...sizes) <= maxBufferBytes) return shape;
    if (rows > multiple) rows = Math.floor(rows / 2 / multiple) * multiple || multiple;
    else if (tried > 1) tried = Math.ceil(tried / 2);
    else return shape;
  }
}

function sharedSizes(tasks: readonly ShapedTask[], total: number) {
  const sizes = tasks.map(({ task, shape }) => searchSizes(task, shape, total));
  return BUFFER_NAMES.map((name) => [name, Math.max(0, ...sizes.map((each) => each[name]))] as const);
}

/** GPU bytes of buffers that serve all of these; the planner's figure. */
export function searchBytes(tasks: readonly ShapedTask[], total: number): number {
  return sharedSizes(tasks, total).reduce((sum, [, bytes]) => sum + bufferBytes(bytes), 0);
}

export async function allocateSearch(
  gpu: Gpu,
  tasks: readonly ShapedTask[],
  total: number,
): Promise<SearchBuffers & Disposable> {
  const sizes = sharedSizes(tasks, total);
  const requests = sizes.map(([name, bytes]) => ({ label: `AWQ ${name}`, bytes }));
  const made: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  const buffers = Object.fromEntries(sizes.map(([name], index) => [name, made[index]])) as Record<
    keyof SearchBuffers,
    LedgerBuffer
  >;
  return {
    ...buffers,
    [Symbol.dispose]() {
      for (const buffer of made) buffer[Symbol.dispose]();
    },
  };
}
