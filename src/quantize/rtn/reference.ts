// Round to nearest in plain TypeScript, as compressed-tensors computes it on the CPU: every operation is rounded to the
// weight's dtype. Slow and obvious; the kernels must give the same bits.
//
// w is (rows, columns) row-major; scales and zeroPoints are one per cell, row-major over the grid of cells.

import type { CellGrid } from "../../formats/compression-format.ts";
import { type FloatDtype, roundHalfToEven, roundTo } from "../../formats/dtype.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/quantization-args.ts";
import { DTYPE_EPSILON } from "../../gpu/dtype-code.ts";

export interface ReferenceWeight {
  readonly values: Float32Array;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
}

export interface Qparams {
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
}

/** Range, scale and zero point of each cell (compressed-tensors `calculate_qparams`, observer memoryless_minmax). */
export function referenceQparams(weight: ReferenceWeight, args: QuantizationArgs, grid: CellGrid): Qparams {
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  const low = new Float32Array(cells);
  const high = new Float32Array(cells);
  weight.values.forEach((value, index) => {
    const cell = cellOf(weight, grid, index);
    low[cell] = Math.min(low[cell] ?? 0, value);
    high[cell] = Math.max(high[cell] ?? 0, value);
  });
  const scales = new Float32Array(cells);
  const zeroPoints = new Int32Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    const { scale, zeroPoint } = qparams(low[cell] ?? 0, high[cell] ?? 0, args, weight.dtype);
    scales[cell] = scale;
    zeroPoints[cell] = zeroPoint;
  }
  return { scales, zeroPoints };
}

function qparams(low: number, high: number, args: QuantizationArgs, dtype: FloatDtype) {
  const [min, max] = quantizedRange(args);
  const round = (value: number) => roundTo(dtype, value);
  if (args.symmetric) {
    const scale = round(Math.max(Math.abs(low), Math.abs(high)) / ((max - min) / 2));
    return { scale: scale || DTYPE_EPSILON[dtype], zeroPoint: 0 };
  }
  const scale = round(round(high - low) / (max - min));
  if (scale === 0) return { scale: DTYPE_EPSILON[dtype], zeroPoint: 0 };
  const shifted = round(min - round(low / scale));
  return { scale, zeroPoint: roundHalfToEven(Math.min(Math.max(shifted, min), max)) };
}

/** Codes of an integer scheme, one per weight (compressed-tensors `_quantize`). */
export function referenceCodes(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  grid: CellGrid,
  { scales, zeroPoints }: Qparams,
): Int32Array {
  return Int32Array.from(weight.values, (value, index) => {
    const cell = cellOf(weight, grid, index);
    const scaled = scaledValue(value, scales[cell] ?? 1, zeroPoints[cell] ?? 0, args, weight.dtype);
    return roundHalfToEven(scaled);
  });
}

/** Clamped w / scale + zero_point, not yet rounded to a code. */
export function scaledValue(
  value: number,
  scale: number,
  zeroPoint: number,
  args: QuantizationArgs,
  dtype: FloatDtype,
): number {
  const [min, max] = quantizedRange(args);
  const quotient = roundTo(dtype, value / scale);
  const shifted = args.symmetric ? quotient : roundTo(dtype, quotient + zeroPoint);
  return Math.min(Math.max(shifted, min), max);
}

export function cellOf({ columns }: { readonly columns: number }, grid: CellGrid, index: number): number {
  const row = Math.floor(index / columns);
  const column = index % columns;
  return Math.floor(row / grid.cellRows) * grid.cellsPerRow + Math.floor(column / grid.cellColumns);
}
