// The observer `hessian_mse` in plain TypeScript; float64 but for what the weight's dtype rounds.

import type { CellGrid } from "../../formats/schemes/compression-format.ts";
import { roundTo } from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import {
  cellOf,
  codeValue,
  qparamsOfRanges,
  type Ranges,
  referenceCodes,
  referenceRanges,
  type ReferenceWeight,
} from "../rtn/reference.ts";
import { NO_STATISTICS } from "./observe-weight.ts";
import { IMPORTANCE_DAMPING, RANGE_SHARES, rangeShare } from "./range-shares.ts";

/** The share of each cell's range that rounds it to nearest with the least Σ (importance[column] + damping) · (q − w)². */
export function referenceWeightedRanges(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  grid: CellGrid,
  importance: ArrayLike<number>,
  globalScale = 0,
): Ranges {
  const observed = referenceRanges(weight, grid);
  const best = { low: observed.low.slice(), high: observed.high.slice() };
  const least = new Float64Array(observed.low.length).fill(Number.POSITIVE_INFINITY);
  for (let step = 0; step < RANGE_SHARES.steps; step++) {
    const candidate = shareOf(observed, rangeShare(step), weight);
    const errors = weightedErrors(weight, args, grid, candidate, { importance, globalScale });
    errors.forEach((error, cell) => {
      if (error >= (least[cell] ?? 0)) return;
      least[cell] = error;
      best.low[cell] = candidate.low[cell] ?? 0;
      best.high[cell] = candidate.high[cell] ?? 0;
    });
  }
  return best;
}

function shareOf({ low, high }: Ranges, share: number, { dtype }: ReferenceWeight): Ranges {
  const scale = (value: number) => roundTo(dtype, Math.fround(value * Math.fround(share)));
  return { low: low.map(scale), high: high.map(scale) };
}

/** Σ (importance[column] + damping) · (q − w)² of each cell, rounded to nearest with the given ranges. */
export function weightedErrors(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  grid: CellGrid,
  ranges: Ranges,
  by: { readonly importance: ArrayLike<number>; readonly globalScale: number },
): Float64Array {
  const { globalScale } = by;
  const known = { ...NO_STATISTICS, globalScale: globalScale || null };
  const qparams = qparamsOfRanges(ranges, args, weight.dtype, known);
  const codes = referenceCodes(weight, args, grid, qparams, globalScale);
  const errors = new Float64Array(ranges.low.length);
  weight.values.forEach((value, index) => {
    const cell = cellOf(weight, grid, index);
    const local = qparams.scales[cell] ?? 1;
    const scale = globalScale === 0 ? local : Math.fround(local / globalScale);
    const number = codeValue(codes[index] ?? 0, qparams.zeroPoints[cell] ?? 0, args);
    const error = roundTo(weight.dtype, number * scale) - value;
    errors[cell] =
      (errors[cell] ?? 0) + ((by.importance[index % weight.columns] ?? 0) + IMPORTANCE_DAMPING) * error ** 2;
  });
  return errors;
}
