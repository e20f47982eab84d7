// Factors that a modifier moves from one tensor into another: the output channels of a norm or Linear are divided by what the
// input columns of the Linears behind it are multiplied by. The model computes the same; its weights quantize better.

import { type FloatDtype, narrowFromFloat32, widenToFloat32 } from "./dtype.ts";

/** A tensor and what its rows or columns are multiplied by. A vector, such as a norm's weight, has rows alone. */
export interface Fold {
  readonly tensor: string;
  readonly axis: "rows" | "columns";
  /** A factor for each row or column. */
  readonly factors: Float32Array<ArrayBuffer>;
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
 * Rows of the original tensor with all of its folds: the factors are multiplied in float32, in the order of the folds, and
 * the product with the weight is rounded once, to the dtype.
 * @param bytes whole rows as they lie in the source
 */
export function foldRows(
  bytes: Uint8Array<ArrayBuffer>,
  { dtype, columns, firstRow }: FoldedRows,
  folds: readonly Fold[],
): Uint8Array<ArrayBuffer> {
  const values = widenToFloat32(dtype, bytes);
  for (const [index, value] of values.entries()) {
    const row = firstRow + Math.floor(index / columns);
    values[index] = foldValue(value, row, index % columns, folds);
  }
  return narrowFromFloat32(dtype, values);
}

function foldValue(value: number, row: number, column: number, folds: readonly Fold[]): number {
  let factor = 1;
  let offset = 0;
  for (const fold of folds) {
    factor = Math.fround(factor * (fold.factors[fold.axis === "rows" ? row : column] ?? 1));
    offset = fold.offset;
  }
  return Math.fround(Math.fround((value + offset) * factor) - offset);
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
