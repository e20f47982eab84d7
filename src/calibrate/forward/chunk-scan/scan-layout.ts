// Where the parts of a recurrence lie in a row of its token. All columns are multiples of 4, and so is the stride.

import { UnsupportedModelError } from "../../../errors.ts";

/** Tokens that chunk-products.wgsl and chunk-scan.wgsl take at once. */
export const SCAN_CHUNK = 32;
/** vec4 of workgroup memory that the state takes, of the 1024 of the smallest limit. */
const STATE_VECS = 512;
const MAX_VECS = 4;

export interface ScanShape {
  readonly heads: number;
  /** Heads of queries and keys, each shared by a run of heads. */
  readonly keyHeads: number;
  /** Values of a query and a key. */
  readonly keyDim: number;
  /** Values of a head's value. */
  readonly valueDim: number;
  /** True for the gated delta rule, false for Mamba-2. */
  readonly delta: boolean;
}

export interface ScanColumns {
  /** keyHeads · keyDim */
  readonly queries: number;
  readonly keys: number;
  /** heads · valueDim */
  readonly values: number;
  /** heads logarithms of decays, then heads factors. */
  readonly gates: number;
  /** keyHeads · SCAN_CHUNK */
  readonly scores: number;
  /** heads · SCAN_CHUNK for the delta rule. */
  readonly transforms: number;
}

/** @throws UnsupportedModelError if a column of a head's state does not fit a workgroup, or sizes are not aligned. */
export function checkScan(module: string, { keyDim, valueDim }: ScanShape): void {
  if (keyDim > STATE_VECS) {
    throw new UnsupportedModelError(
      `${module} has a state of ${keyDim} rows; calibration can compute up to ${STATE_VECS}. Recipes without calibration still work.`,
    );
  }
  if (keyDim % 4 !== 0 || valueDim % 4 !== 0) {
    throw new UnsupportedModelError(
      `${module} has a state of ${keyDim} by ${valueDim} values; calibration can compute multiples of 4. Recipes without calibration still work.`,
    );
  }
}

/** vec4 of a value's columns that one workgroup of the scan takes. */
export function sliceVecs({ keyDim, valueDim }: ScanShape): number {
  let vecs = MAX_VECS;
  while (vecs > 1 && (vecs * keyDim > STATE_VECS || vecs >= 2 * Math.ceil(valueDim / 4))) vecs /= 2;
  return vecs;
}

/** Columns of gates, scores and transforms together, and where each lies from `first`. */
export function scanColumns(
  { heads, keyHeads, delta }: ScanShape,
  first: number,
): Pick<ScanColumns, "gates" | "scores" | "transforms"> & { readonly end: number } {
  const scores = first + Math.ceil((2 * heads) / 4) * 4;
  const transforms = scores + keyHeads * SCAN_CHUNK;
  return { gates: first, scores, transforms, end: transforms + (delta ? heads * SCAN_CHUNK : 0) };
}
