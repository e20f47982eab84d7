// Factors that a modifier moves from one tensor into another: the output channels of a norm or Linear are divided by what the
// input columns of the Linears behind it are multiplied by. The model computes the same; its weights quantize better.

import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "./dtype.ts";

/** A tensor and what its rows or columns are multiplied or divided by. A vector, such as a norm's weight, has rows alone. */
export interface Fold {
  readonly tensor: string;
  readonly axis: "rows" | "columns";
  /** A factor for each row or column. */
  readonly factors: Float32Array<ArrayBuffer>;
  /** True if they divide: a reciprocal, rounded, would not give the bits of a quotient. */
  readonly divides: boolean;
  /** 1 for norms that multiply by 1 + w: it is 1 + w that is multiplied. */
  readonly offset: 0 | 1;
}

/** Some whole rows of a tensor. */
export interface FoldedRows {
  readonly dtype: FloatDtype;
  readonly columns: number;
  readonly firstRow: number;
}

/**
 * Rows of the original tensor with all of its folds: the factors are multiplied in float64, which holds a product of two
 * float32 exactly, and the result is rounded to float32 and once more, to the dtype.
 * @param bytes whole rows as they lie in the source
 */
export function foldRows(
  bytes: Uint8Array<ArrayBuffer>,
  { dtype, columns, firstRow }: FoldedRows,
  folds: readonly Fold[],
): Uint8Array<ArrayBuffer> {
  const values = widenToFloat32(dtype, bytes);
  const rows = values.length / columns;
  const outputs = joinFactors(folds, "rows", firstRow, rows);
  const inputs = joinFactors(folds, "columns", 0, columns);
  const offset = folds[0]?.offset ?? 0;
  for (let row = 0, index = 0; row < rows; row++) {
    const by = outputs.factors[row] ?? 1;
    const over = outputs.divisors[row] ?? 1;
    for (let column = 0; column < columns; column++, index++) {
      const factor = by * (inputs.factors[column] ?? 1);
      const divisor = over * (inputs.divisors[column] ?? 1);
      values[index] = (((values[index] ?? 0) + offset) * factor) / divisor - offset;
    }
  }
  return narrowFromFloat32(dtype, values);
}

interface JoinedFactors {
  readonly factors: Float64Array;
  readonly divisors: Float64Array;
}

/** The product of all factors, and of all divisors, of each of `count` rows or columns. */
function joinFactors(
  folds: readonly Fold[],
  along: Fold["axis"],
  first: number,
  count: number,
): JoinedFactors {
  const joined = { factors: new Float64Array(count).fill(1), divisors: new Float64Array(count).fill(1) };
  for (const { axis, factors, divides } of folds) {
    if (axis !== along) continue;
    const products = divides ? joined.divisors : joined.factors;
    for (let at = 0; at < count; at++) products[at] = (products[at] ?? 1) * (factors[first + at] ?? 1);
  }
  return joined;
}

/** Folds as a journal keeps them: float32 in base64. */
export interface StoredFold extends Omit<Fold, "factors"> {
  readonly factors: string;
}

export function storeFold({ factors, ...fold }: Fold): StoredFold {
  const bytes = new Uint8Array(factors.buffer, factors.byteOffset, factors.byteLength);
  return { ...fold, factors: btoa(Array.from(bytes, (byte) => String.fromCodePoint(byte)).join("")) };
}

export function restoreFold({ factors, ...fold }: StoredFold): Fold {
  const bytes = Uint8Array.from(atob(factors), (character) => character.codePointAt(0) ?? 0);
  return { ...fold, factors: new Float32Array(bytes.buffer) };
}
