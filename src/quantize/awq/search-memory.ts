// The GPU memory of a search over some mappings: tiles of whole rows of one Linear after the other, for as many candidates as fit
// at once, and beside them what all of the Linears leave behind, so that it is read in one go.

import { type CellGrid, cellGrid, hasGlobalScale } from "../../formats/schemes/compression-format.ts";
import { DTYPE_BITS } from "../../formats/numbers/dtype.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { BufferPart } from "../../gpu/kernel.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { invariant } from "../../errors.ts";
import type { QuantizerTask } from "../quantizer.ts";
import { SHARE_LANES } from "./awq-kernels.ts";
import { tileRowMultiple } from "../rtn/tile-buffers.ts";

/** What is searched: a Linear and what it becomes. */
export type SearchedTask = Pick<
  QuantizerTask,
  "module" | "dtype" | "rows" | "columns" | "weights" | "format"
>;

/** The Linears of a mapping that are quantized. */
export interface SearchedMapping<Task extends SearchedTask = SearchedTask> {
  readonly columns: number;
  readonly tasks: readonly Task[];
}

/** Buffers that serve one Linear after the other. */
const TILE_BUFFERS = ["source", "ranges", "counts", "errors", "products", "diagonal"] as const;

export type TileBuffers = Readonly<Record<(typeof TILE_BUFFERS)[number], LedgerBuffer>>;

/** Rows of a tile, and candidates that are at work at once. */
export interface SearchShape {
  readonly rows: number;
  readonly candidates: number;
}

/** Larger searches were no faster. */
const MAX_TILE_BYTES = 512 * 1024 ** 2;
/** Candidates take turns beyond this, which fill a GPU as well: what they leave is room for weights that stay beside them. */
const MAX_TURN_BYTES = 192 * 1024 ** 2;
/** Mappings are searched together until they leave so much behind: more is read as fast in turns. */
const MAX_LASTING_BYTES = 16 * 1024 ** 2;
/** Parts of a buffer are bound at multiples of this. */
const PART_BYTES = 256;

export function errorStride(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}

/** Cells of a tile; of a weight with one scale for all, whose range is known by then, rows. */
export function searchGrid({ weights, columns }: SearchedTask, rows: number): CellGrid {
  if (weights.strategy !== "tensor") return cellGrid(weights, rows, columns);
  return { cellRows: 1, cellColumns: columns, cellsPerColumn: rows, cellsPerRow: 1 };
}

function tileSizes(task: SearchedTask, { rows, candidates }: SearchShape): Record<keyof TileBuffers, number> {
  const { cellsPerColumn, cellsPerRow } = searchGrid(task, rows);
  const floats = candidates * rows * errorStride(task.columns) * 4;
  return {
    source: (rows * task.columns * DTYPE_BITS[task.dtype]) / 8,
    ranges: cellsPerColumn * cellsPerRow * 8,
    counts: 8,
    errors: floats,
    products: floats,
    diagonal: task.columns * 4,
  };
}

/** True for weights whose tiles cannot be rounded without having seen all of them. */
export function sharesScale({ weights }: Pick<SearchedTask, "weights">): boolean {
  return weights.strategy === "tensor" || hasGlobalScale(weights);
}

/** What the host gives: candidates of a mapping, and what is known of a Linear's scale under each. */
const GIVEN = {
  factors: (columns: number, total: number) => total * columns * 4,
  known: (total: number) => total * 16,
};

/** What a Linear leaves behind: sums of its columns by lane; by candidate, ranges at first, then what each row loses. */
function foundSizes(task: SearchedTask, total: number) {
  const losses = (total + 1) * task.rows * 4;
  const ranges = sharesScale(task) ? total * task.rows * 8 : 0;
  return { shares: SHARE_LANES * task.columns * 4, results: Math.max(losses, ranges) };
}

/** Bytes of what the host gives, and of what Linears leave behind. */
interface LastingSizes {
  readonly given: number;
  readonly found: number;
}

function lastingSizes({ columns, tasks }: SearchedMapping, total: number): LastingSizes {
  let given = partBytes(GIVEN.factors(columns, total));
  let found = 0;
  for (const task of tasks) {
    const { shares, results } = foundSizes(task, total);
    given += partBytes(GIVEN.known(total));
    found += partBytes(shares) + partBytes(results);
  }
  return { given, found };
}

function groupSizes(group: readonly SearchedMapping[], total: number): LastingSizes {
  return group.map((mapping) => lastingSizes(mapping, total)).reduce(addedSizes, { given: 0, found: 0 });
}

function addedSizes(one: LastingSizes, other: LastingSizes): LastingSizes {
  return { given: one.given + other.given, found: one.found + other.found };
}

function partBytes(bytes: number): number {
  return Math.ceil(bytes / PART_BYTES) * PART_BYTES;
}

/** GPU bytes of what lives as long as a group is searched. */
function lastingBytes({ given, found }: LastingSizes): number {
  return bufferBytes(given) + bufferBytes(found);
}

/** Runs of mappings that are searched together. */
export function searchGroups<Searched extends SearchedMapping>(
  mappings: readonly Searched[],
  total: number,
): Searched[][] {
  const groups: Searched[][] = [];
  let sizes: LastingSizes = { given: 0, found: 0 };
  for (const mapping of mappings) {
    const own = lastingSizes(mapping, total);
    const grown = addedSizes(sizes, own);
    const group = groups.at(-1);
    const fits = group && lastingBytes(grown) <= MAX_LASTING_BYTES;
    if (fits) group.push(mapping);
    else groups.push([mapping]);
    sizes = fits ? grown : own;
  }
  return groups;
}

type Shapes = ReadonlyMap<SearchedTask, SearchShape>;

/** The largest shapes of a group's Linears within `freeBytes`, if any. */
function searchShapes(
  group: readonly SearchedMapping[],
  total: number,
  freeBytes: number,
  maxBufferBytes: number,
): Shapes {
  const tasks = group.flatMap((mapping) => mapping.tasks);
  const free = freeBytes - lastingBytes(groupSizes(group, total));
  let room = Math.min(free, MAX_TILE_BYTES);
  for (;;) {
    const shapes = new Map(tasks.map((task) => [task, searchShape(task, total, room, maxBufferBytes)]));
    if (tileBytes(shapes) <= free || room < 1) return shapes;
    room = Math.floor(room / 2);
  }
}

/** In as few turns as fit. How many there are changes no sum: each candidate's rows are added up by themselves. */
function searchShape(task: SearchedTask, total: number, room: number, maxBufferBytes: number): SearchShape {
  const { rows, candidates } = largestShape(task, total, room, maxBufferBytes);
  let tried = candidates;
  while (tried > 1 && shapeBytes(task, { rows, candidates: tried }) > MAX_TURN_BYTES)
    tried = Math.ceil(tried / 2);
  return { rows, candidates: tried };
}

/** Fewer rows first, then fewer candidates. */
function largestShape(task: SearchedTask, total: number, room: number, maxBufferBytes: number): SearchShape {
  const multiple = tileRowMultiple(task);
  let rows = Math.ceil(task.rows / multiple) * multiple;
  let tried = total;
  for (;;) {
    const shape = { rows: Math.min(rows, task.rows), candidates: tried };
    const largest = Math.max(...Object.values(tileSizes(task, shape)));
    if (shapeBytes(task, shape) <= room && largest <= maxBufferBytes) return shape;
    if (rows > multiple) rows = Math.floor(rows / 2 / multiple) * multiple || multiple;
    else if (tried > 1) tried = Math.ceil(tried / 2);
    else return shape;
  }
}

function shapeBytes(task: SearchedTask, shape: SearchShape): number {
  return Object.values(tileSizes(task, shape)).reduce((sum, size) => sum + bufferBytes(size), 0);
}

function sharedSizes(shapes: Shapes) {
  const sizes = Array.from(shapes, ([task, shape]) => tileSizes(task, shape));
  return TILE_BUFFERS.map((name) => [name, Math.max(0, ...sizes.map((each) => each[name]))] as const);
}

function tileBytes(shapes: Shapes): number {
  return sharedSizes(shapes).reduce((sum, [, bytes]) => sum + bufferBytes(bytes), 0);
}

/** GPU bytes of a group's search within `freeBytes`; the planner's figure. */
export function searchBytes(
  group: readonly SearchedMapping[],
  total: number,
  freeBytes: number,
  maxBufferBytes: number,
): number {
  const shapes = searchShapes(group, total, freeBytes, maxBufferBytes);
  return tileBytes(shapes) + lastingBytes(groupSizes(group, total));
}

/** A part of a buffer, which is bound by itself. */
export type Part = Exclude<BufferPart, LedgerBuffer>;

/** Where a Linear's parts lie, and in what turns it is searched. */
export interface LinearMemory {
  readonly shape: SearchShape;
  /** (candidates, columns) float32, of the mapping */
  readonly factors: Part;
  readonly known: Part;
  readonly shares: Part;
  readonly results: Part;
}

export interface SearchMemory extends Disposable {
  readonly tiles: TileBuffers;
  /** Candidates and what is known of scales: written by the host. */
  readonly given: LedgerBuffer;
  /** All that Linears leave behind, to be read at once. */
  readonly found: LedgerBuffer;
  of(task: SearchedTask): LinearMemory;
}

/** Allocates a group's search within `freeBytes`. */
export async function allocateSearch(
  gpu: Gpu,
  group: readonly SearchedMapping[],
  total: number,
  freeBytes: number,
): Promise<SearchMemory> {
  const { maxStorageBufferBindingSize } = gpu.device.limits;
  const shapes = searchShapes(group, total, freeBytes, maxStorageBufferBindingSize);
  const lasting = groupSizes(group, total);
  const sizes: (readonly [string, number])[] = [
    ...sharedSizes(shapes),
    ["candidates", lasting.given],
    ["losses", lasting.found],
  ];
  const requests = sizes.map(([name, bytes]) => ({ label: `AWQ ${name}`, bytes }));
  const made: readonly LedgerBuffer[] = await gpu.memory.allocateAll(requests);
  const [given, found] = made.slice(TILE_BUFFERS.length);
  invariant(given && found, "a buffer for each request");
  const places = placesOf(group, shapes, { given, found }, total);
  const tiles = Object.fromEntries(TILE_BUFFERS.map((name, index) => [name, made[index]]));
  return {
    tiles: tiles as Record<keyof TileBuffers, LedgerBuffer>,
    given,
    found,
    of(task) {
      const place = places.get(task);
      invariant(place, `${task.module} is searched`);
      return place;
    },
    [Symbol.dispose]() {
      for (const buffer of made) buffer[Symbol.dispose]();
    },
  };
}

/** Cut to the sizes that `lastingSizes` counts. */
function placesOf(
  group: readonly SearchedMapping[],
  shapes: Shapes,
  { given, found }: Readonly<Record<"given" | "found", LedgerBuffer>>,
  total: number,
): ReadonlyMap<SearchedTask, LinearMemory> {
  const [nextGiven, nextFound] = [given, found].map(partsOf);
  invariant(nextGiven && nextFound, "two buffers are cut");
  const places = new Map<SearchedTask, LinearMemory>();
  for (const { columns, tasks } of group) {
    const factors = nextGiven(GIVEN.factors(columns, total));
    for (const task of tasks) {
      const sizes = foundSizes(task, total);
      const shape = shapes.get(task);
      invariant(shape, `${task.module} has a shape`);
      const known = nextGiven(GIVEN.known(total));
      const shares = nextFound(sizes.shares);
      places.set(task, { shape, factors, known, shares, results: nextFound(sizes.results) });
    }
  }
  return places;
}

/** Cuts a buffer into parts, one behind the other. */
function partsOf(of: LedgerBuffer): (bytes: number) => Part {
  let end = 0;
  return (bytes) => {
    const offset = end;
    end += partBytes(bytes);
    return { of, offset, bytes };
  };
}
