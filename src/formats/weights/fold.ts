// Factors that a modifier moves from one tensor into another: the output channels of a norm or Linear are divided by what the
// input columns of the Linears behind it are multiplied by. The model computes the same; its weights quantize better.

import { DTYPE_BITS, type FloatDtype, narrowFromFloat32, widenInto } from "../numbers/dtype.ts";

/** Elements that take their factors together. */
const PIECE_ELEMENTS = 16_384;

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
 * @param folded where they go; an array of their own if absent
 */
export function foldRows(
  bytes: Uint8Array<ArrayBuffer>,
  { dtype, columns, firstRow }: FoldedRows,
  folds: readonly Fold[],
  folded = new Uint8Array(bytes.byteLength),
): Uint8Array<ArrayBuffer> {
  const rowBytes = (columns * DTYPE_BITS[dtype]) / 8;
  const rows = bytes.byteLength / rowBytes;
  const outputs = joinFactors(folds, "rows", firstRow, rows);
  const inputs = joinFactors(folds, "columns", 0, columns);
  const offset = folds[0]?.offset ?? 0;
  // Few rows at a time: what a processor's cache holds takes half as long as what it does not.
  const each = Math.max(Math.floor(PIECE_ELEMENTS / columns), 1);
  const values = new Float32Array(Math.min(each, rows) * columns);
  for (let first = 0; first < rows; first += each) {
    const end = Math.min(first + each, rows);
    widenInto(dtype, bytes.subarray(first * rowBytes, end * rowBytes), values, 0);
    for (let row = first, index = 0; row < end; row++) {
      const by = outputs.factors[row] ?? 1;
      const over = outputs.divisors[row] ?? 1;
      for (let column = 0; column < columns; column++, index++) {
        const factor = by * (inputs.factors[column] ?? 1);
        const divisor = over * (inputs.divisors[column] ?? 1);
        values[index] = (((values[index] ?? 0) + offset) * factor) / divisor - offset;
      }
    }
    folded.set(narrowFromFloat32(dtype, values.subarray(0, (end - first) * columns)), first * rowBytes);
  }
  return folded;
}

/** Rows of a tensor on their way to a thread: their bytes, and the factors that are theirs. */
export interface PieceOfTensor {
  readonly dtype: FloatDtype;
  readonly columns: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly folds: readonly Fold[];
}

/** What a thread that folds offers. */
export interface FolderApi {
  /** Puts the rows with all of their folds where they lay. */
  fold(piece: PieceOfTensor): Uint8Array<ArrayBuffer>;
}

export const foldPiece: FolderApi["fold"] = ({ bytes, folds, dtype, columns }) =>
  foldRows(bytes, { dtype, columns, firstRow: 0 }, folds, bytes);

/** Folds with the factors of `count` rows alone. */
export function foldsOfRows(folds: readonly Fold[], firstRow: number, count: number): Fold[] {
  return folds.map((fold) =>
    fold.axis === "rows" ? { ...fold, factors: fold.factors.slice(firstRow, firstRow + count) } : fold,
  );
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

/** Folds as a journal keeps them: float32 in base64, once for all tensors that take the same. */
export interface StoredFold extends Omit<Fold, "factors"> {
  readonly factors: string;
  /** Other tensors that take them, too: hundreds of experts read one norm. */
  readonly also?: readonly string[];
}

/** Arguments that a function takes at once. */
const CODES_AT_ONCE = 4096;

/** @param folds of which those with the same array follow each other */
export function storeFolds(folds: readonly Fold[]): StoredFold[] {
  const alike: Fold[][] = [];
  for (const fold of folds) {
    const before = alike.at(-1);
    if (before?.[0] && areAlike(before[0], fold)) before.push(fold);
    else alike.push([fold]);
  }
  return alike.flatMap(([first, ...others]) => {
    if (!first) return [];
    const stored = { ...first, factors: toBase64(first.factors) };
    return others.length > 0 ? { ...stored, also: others.map(({ tensor }) => tensor) } : stored;
  });
}

export function restoreFolds(stored: readonly StoredFold[]): Fold[] {
  return stored.flatMap(({ factors: text, tensor: first, also = [], ...fold }) => {
    const factors = fromBase64(text);
    return [first, ...also].map((tensor) => ({ ...fold, tensor, factors }));
  });
}

function areAlike(one: Fold, other: Fold): boolean {
  const { factors, axis, divides, offset } = one;
  return (
    other.factors === factors && other.axis === axis && other.divides === divides && other.offset === offset
  );
}

function toBase64({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): string {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const parts: string[] = [];
  for (let first = 0; first < byteLength; first += CODES_AT_ONCE)
    parts.push(String.fromCodePoint(...bytes.subarray(first, first + CODES_AT_ONCE)));
  return btoa(parts.join(""));
}

function fromBase64(text: string): Float32Array<ArrayBuffer> {
  const codes = atob(text);
  const bytes = new Uint8Array(codes.length);
  // A plain loop: from() with a callback takes several times as long.
  for (let at = 0; at < codes.length; at++) bytes[at] = codes.codePointAt(at) ?? 0;
  return new Float32Array(bytes.buffer);
}
