// How a layer's Linears lie on the GPU while samples run through them: resident, as many as the budget holds, or streamed
// through one tile.

import { DTYPE_BITS, type FloatDtype } from "../formats/numbers/dtype.ts";
import { bufferBytes } from "../gpu/memory.ts";
import type { Linear } from "../model/weight-description.ts";

export interface Residency {
  /** Bytes of Linears that stay; the largest ones that fit. */
  readonly residentBytes: number;
  /** The others come in rows of at most so many bytes at a time. */
  readonly tileBytes: number;
}

/** Rows of a weight start at multiples of this many elements: what one 16-byte load of the matrix product takes. */
export function strideOf(columns: number, dtype: FloatDtype): number {
  const alignment = 128 / DTYPE_BITS[dtype];
  return Math.ceil(columns / alignment) * alignment;
}

export interface TileShape {
  readonly dtype: FloatDtype;
  readonly stride: number;
  readonly rowBytes: number;
  readonly tileRows: number;
}

/** Smallest number of rows that tiles start at multiples of: outputs are written four at a time. */
const ROW_MULTIPLE = 4;

export function tileShape(linear: Linear, dtype: FloatDtype, tileBytes: number): TileShape {
  const stride = strideOf(linear.columns, dtype);
  const rowBytes = (stride * DTYPE_BITS[dtype]) / 8;
  const rows = Math.max(Math.floor(tileBytes / rowBytes / ROW_MULTIPLE), 1) * ROW_MULTIPLE;
  return { dtype, stride, rowBytes, tileRows: Math.min(rows, linear.rows) };
}

type DtypeOf = (tensor: string) => FloatDtype;

/** What Linears take, worked out once: a plan asks thousands of times, and layers of experts have hundreds. */
interface SizedLinears {
  readonly maxBufferBytes: number;
  readonly bytes: number;
  readonly largestFirst: readonly { readonly linear: Linear; readonly size: number }[];
  /** By the limit of a tile's bytes. */
  readonly tiles: Map<number, SizedTiles>;
}

/** Bytes of the tile through which each Linear is streamed, and of the largest. */
interface SizedTiles {
  readonly each: ReadonlyMap<Linear, number>;
  readonly largest: number;
}

/** Linears outlive a layer on the host, which `dtypeOf` may hold: nothing here holds that. */
const known = new WeakMap<readonly Linear[], WeakMap<DtypeOf, SizedLinears>>();

function sizesOf(linears: readonly Linear[], dtypeOf: DtypeOf, maxBufferBytes: number): SizedLinears {
  const ofLinears = known.get(linears) ?? new WeakMap<DtypeOf, SizedLinears>();
  const found = ofLinears.get(dtypeOf);
  if (found?.maxBufferBytes === maxBufferBytes) return found;
  const sized = linears.map((linear) => ({ linear, size: wholeBytes(linear, dtypeOf, maxBufferBytes) }));
  const made = {
    maxBufferBytes,
    bytes: sized.reduce((sum, { size }) => sum + size, 0),
    largestFirst: sized.toSorted((a, b) => b.size - a.size),
    tiles: new Map(),
  };
  known.set(linears, ofLinears.set(dtypeOf, made));
  return made;
}

function tilesOf(sizes: SizedLinears, dtypeOf: DtypeOf, limit: number): SizedTiles {
  const found = sizes.tiles.get(limit);
  if (found) return found;
  const each = new Map(
    sizes.largestFirst.map(({ linear }) => [linear, streamBytes([linear], dtypeOf, limit)]),
  );
  const made = { each, largest: Math.max(0, ...each.values()) };
  sizes.tiles.set(limit, made);
  return made;
}

/** GPU bytes of a Linear that is resident, in buffers of at most `maxBufferBytes`. */
function wholeBytes(linear: Linear, dtypeOf: DtypeOf, maxBufferBytes: number): number {
  const { rowBytes, tileRows } = tileShape(linear, dtypeOf(linear.source.tensor), maxBufferBytes);
  const rest = linear.rows % tileRows;
  const whole = Math.floor(linear.rows / tileRows) * bufferBytes(tileRows * rowBytes);
  return whole + (rest > 0 ? bufferBytes(rest * rowBytes) : 0);
}

/** GPU bytes of the tile through which these Linears are streamed. */
export function streamBytes(linears: readonly Linear[], dtypeOf: DtypeOf, limit: number): number {
  const sizes = linears.map((linear) => {
    const { rowBytes, tileRows } = tileShape(linear, dtypeOf(linear.source.tensor), limit);
    return bufferBytes(tileRows * rowBytes);
  });
  return Math.max(0, ...sizes);
}

/** Linears in the layer's order. */
export interface DividedLinears {
  readonly resident: readonly Linear[];
  readonly streamed: readonly Linear[];
  /** GPU bytes of the resident ones. */
  readonly residentBytes: number;
}

/**
 * Tells the Linears that stay from those that are streamed. The largest ones stay: those of an MLP, which are asked for most often; what
 * is left of the room is less than the smallest that is streamed.
 */
export function divideLinears(
  linears: readonly Linear[],
  dtypeOf: DtypeOf,
  residency: Residency,
  maxBufferBytes: number,
): DividedLinears {
  const sizes = sizesOf(linears, dtypeOf, maxBufferBytes);
  if (sizes.bytes <= residency.residentBytes)
    return { resident: linears, streamed: [], residentBytes: sizes.bytes };
  const stays = new Set<Linear>();
  let bytes = 0;
  for (const { linear, size } of sizes.largestFirst) {
    if (bytes + size > residency.residentBytes) continue;
    stays.add(linear);
    bytes += size;
  }
  return {
    resident: linears.filter((linear) => stays.has(linear)),
    streamed: linears.filter((linear) => !stays.has(linear)),
    residentBytes: bytes,
  };
}

export interface OnloadedBytes {
  /** GPU bytes that the Linears take. */
  readonly bytes: number;
  /** Bytes of weights that are uploaded once a pass. */
  readonly resident: number;
  /** Linears whose weights are uploaded anew for each batch of samples. */
  readonly streamed: readonly Linear[];
}

/** GPU bytes of Linears that are all resident. */
export function residentBytes(linears: readonly Linear[], dtypeOf: DtypeOf, maxBufferBytes: number): number {
  return linears.reduce((sum, linear) => sum + wholeBytes(linear, dtypeOf, maxBufferBytes), 0);
}

/** What Linears take under a residency; the planner's figures. */
export function onloadedBytes(
  linears: readonly Linear[],
  dtypeOf: DtypeOf,
  residency: Residency,
  maxBufferBytes: number,
): OnloadedBytes {
  const { streamed, residentBytes: resident } = divideLinears(linears, dtypeOf, residency, maxBufferBytes);
  if (streamed.length === 0) return { bytes: resident, resident, streamed };
  const limit = Math.min(residency.tileBytes, maxBufferBytes);
  const { each } = tilesOf(sizesOf(linears, dtypeOf, maxBufferBytes), dtypeOf, limit);
  const tile = streamed.reduce((most, linear) => Math.max(most, each.get(linear) ?? 0), 0);
  return { bytes: resident + tile, resident, streamed };
}

/** The residency that makes the most of `bytes`; null if they do not hold one tile. */
export function fitResidency(
  linears: readonly Linear[],
  dtypeOf: DtypeOf,
  { bytes, tileBytes }: { readonly bytes: number; readonly tileBytes: number },
  maxBufferBytes: number,
): Residency | null {
  const sizes = sizesOf(linears, dtypeOf, maxBufferBytes);
  if (sizes.bytes <= bytes) return { residentBytes: sizes.bytes, tileBytes };
  const { largest: tile } = tilesOf(sizes, dtypeOf, Math.min(tileBytes, maxBufferBytes));
  return tile <= bytes ? { residentBytes: bytes - tile, tileBytes } : null;
}
