// The searches of `memoryless_mse` and `imatrix_mse` in plain TypeScript (LLM Compressor `_grid_search_mse` and
// `_grid_search`): every operation rounded to the weight's dtype, the errors of a cell summed in double precision and rounded
// once. `imatrix_mse` takes the errors themselves in float32.
//
// torch sums in float32 in an order that depends on the processor's vectors. The sum of 16-bit powers is far from the ties
// of a 16-bit result in all but about one case in a million, so the order does not show.

import type { CellGrid } from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, roundTo } from "../../formats/numbers/dtype.ts";
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
import { type MseSettings, shrinkOf } from "./mse-settings.ts";

/** The ranges that the search chooses; `importance` has one number a column, for `imatrix_mse`. */
export function referenceMseRanges(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  grid: CellGrid,
  settings: MseSettings,
  importance: Float32Array | null = null,
): Ranges {
  const { dtype } = weight;
  const base = scaledRanges(referenceRanges(weight, grid), settings.expand, dtype);
  const best = { low: base.low.slice(), high: base.high.slice() };
  const least = new Float64Array(base.low.length).fill(Number.POSITIVE_INFINITY);
  let stale = 0;
  for (let step = 0; step < settings.steps && stale < settings.patience; step++) {
    const candidate = scaledRanges(base, shrinkOf(step, settings), dtype);
    const errors = cellErrors({ ...weight, importance }, args, grid, candidate, settings.norm);
    stale++;
    errors.forEach((error, cell) => {
      if (error >= (least[cell] ?? 0)) return;
      least[cell] = error;
      best.low[cell] = candidate.low[cell] ?? 0;
      best.high[cell] = candidate.high[cell] ?? 0;
      stale = 0;
    });
  }
  return best;
}

function scaledRanges({ low, high }: Ranges, factor: number, dtype: FloatDtype): Ranges {
  const scale = (value: number) => roundTo(dtype, value * Math.fround(factor));
  return { low: low.map(scale), high: high.map(scale) };
}

function cellErrors(
  weight: ReferenceWeight & { readonly importance: Float32Array | null },
  args: QuantizationArgs,
  grid: CellGrid,
  ranges: Ranges,
  norm: number,
): Float64Array {
  const { dtype, importance, columns } = weight;
  const errorDtype = importance ? "F32" : dtype;
  const round = (value: number) => roundTo(errorDtype, value);
  const plain: QuantizationArgs = args.strategy === "tensor_group" ? { ...args, scale_dtype: null } : args;
  const qparams = qparamsOfRanges(ranges, plain, dtype);
  const codes = referenceCodes(weight, plain, grid, qparams);
  const exponent = errorDtype === "F32" ? norm : round(norm);
  const errors = new Float64Array(ranges.low.length);
  weight.values.forEach((value, index) => {
    const cell = cellOf(weight, grid, index);
    const meaning = codeValue(codes[index] ?? 0, qparams.zeroPoints[cell] ?? 0, plain);
    const dequantized = roundTo(dtype, meaning * (qparams.scales[cell] ?? 1));
    const difference = Math.abs(round(dequantized - value));
    // torch multiplies for cubes, and rounds both products unless they are float16's
    const isProduct = exponent === 3 && errorDtype !== "F16";
    const error = isProduct ? round(round(difference ** 2) * difference) : round(difference ** exponent);
    const weighted = importance ? round(error * (importance[index % columns] ?? 0)) : error;
    errors[cell] = (errors[cell] ?? 0) + weighted;
  });
  return errors.map(round);
}
