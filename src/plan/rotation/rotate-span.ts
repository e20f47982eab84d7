// Rows of a tensor, multiplied by their rotations in float64 and rounded once to the tensor's own dtype.

import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import { createRotation, type Rotation } from "./hadamard.ts";
import type { RotatedRun } from "./rotated-tensors.ts";

/** Columns that are rotated side by side, so that they stay in the processor's cache. */
const COLUMNS_AT_ONCE = 16;

/** Rows as they lie in the source, and what they are multiplied by. */
export interface Span {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly dtype: FloatDtype;
  readonly columns: number;
  /** What the rotations are made with; see `createRotation`. */
  readonly seed: number | null;
  /** What each column is multiplied by before it is rotated. */
  readonly norm: Float32Array | null;
  readonly byColumn: RotatedRun | null;
  /** What each column is multiplied by, transposed: the span is all rows of one block of it. */
  readonly byRow: RotatedRun | null;
}

/** Rotates spans; makes the rotation of each size once. */
export type SpanRotator = (span: Span) => Uint8Array<ArrayBuffer>;

/** What a thread that rotates spans offers. */
export interface RotatorApi {
  rotate: SpanRotator;
}

export function createSpanRotator(): SpanRotator {
  const known = new Map<string, Rotation>();
  /** R1 and R2 of one size are different ones. */
  const rotationOf = ({ rotation, size }: RotatedRun, seed: number | null) => {
    const key = `${rotation} ${size} ${seed}`;
    const found =
      known.get(key) ?? createRotation(size, seed === null ? null : 2 * seed + Number(rotation === "R2"));
    known.set(key, found);
    return found;
  };
  return ({ bytes, dtype, columns, seed, norm, byColumn, byRow }) => {
    const values = widenToFloat32(dtype, bytes);
    if (byColumn) {
      rotateRows(values, columns, { run: byColumn, rotation: rotationOf(byColumn, seed), norm });
    }
    if (byRow) rotateColumns(values, columns, rotationOf(byRow, seed));
    return narrowFromFloat32(dtype, values);
  };
}

function rotateRows(
  values: Float32Array,
  columns: number,
  by: { readonly run: RotatedRun; readonly rotation: Rotation; readonly norm: Float32Array | null },
): void {
  const { run, rotation, norm } = by;
  const factors = Float64Array.from({ length: columns }, (_, column) => norm?.[column] ?? 1);
  for (let i = 0; i < run.size * run.blocks; i++) {
    factors[run.first + i] = (factors[run.first + i] ?? 1) * (rotation.factors[i % run.size] ?? 1);
  }
  const row = new Float64Array(columns);
  for (let first = 0; first < values.length; first += columns) {
    for (let i = 0; i < columns; i++) row[i] = (values[first + i] ?? 0) * (factors[i] ?? 0);
    for (let block = 0; block < run.blocks; block++) rotation.turn(row, run.first + block * run.size, 1);
    values.set(row, first);
  }
}

/** Rotates every column of a matrix whose rows the rotation mixes. */
function rotateColumns(values: Float32Array, columns: number, { size, factors, turn }: Rotation): void {
  const block = new Float64Array(COLUMNS_AT_ONCE * size);
  for (let first = 0; first < columns; first += COLUMNS_AT_ONCE) {
    const lanes = Math.min(COLUMNS_AT_ONCE, columns - first);
    for (let row = 0, from = first, to = 0; row < size; row++, from += columns, to += lanes) {
      const factor = factors[row] ?? 1;
      for (let lane = 0; lane < lanes; lane++) block[to + lane] = (values[from + lane] ?? 0) * factor;
    }
    turn(block, 0, lanes);
    for (let row = 0, to = first, from = 0; row < size; row++, to += columns, from += lanes) {
      for (let lane = 0; lane < lanes; lane++) values[to + lane] = block[from + lane] ?? 0;
    }
  }
}
