// Round to nearest in plain TypeScript, as compressed-tensors computes it on the CPU: every operation is rounded to the
// weight's dtype. Slow and obvious; the kernels must give the same bits.
//
// w is (rows, columns) row-major; scales and zeroPoints are one per cell, row-major over the grid of cells.

import { type CellGrid, scaleStorage } from "../../formats/schemes/compression-format.ts";
import { type FloatDtype, roundHalfToEven, roundTo } from "../../formats/numbers/dtype.ts";
import { e2m1ToNumber, numberToE2m1 } from "../../formats/numbers/fp4.ts";
import { e4m3ToNumber, numberToE4m3 } from "../../formats/numbers/fp8.ts";
import { mxScale } from "../../formats/numbers/mx-scale.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { DTYPE_EPSILON } from "../../gpu/elements/dtype-code.ts";
import { NO_STATISTICS, type TensorStatistics } from "../observe/observe-weight.ts";

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

/** Smallest and largest weight of each cell, reaching to 0. */
export interface Ranges {
  readonly low: Float32Array;
  readonly high: Float32Array;
}

/** Range of each cell (the observer memoryless_minmax). */
export function referenceRanges(weight: ReferenceWeight, grid: CellGrid): Ranges {
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  const low = new Float32Array(cells);
  const high = new Float32Array(cells);
  weight.values.forEach((value, index) => {
    const cell = cellOf(weight, grid, index);
    low[cell] = Math.min(low[cell] ?? 0, value);
    high[cell] = Math.max(high[cell] ?? 0, value);
  });
  return { low, high };
}

/** Range, scale and zero point of each cell (compressed-tensors `calculate_qparams`, observer memoryless_minmax). */
export function referenceQparams(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  grid: CellGrid,
  known: TensorStatistics = NO_STATISTICS,
): Qparams {
  return qparamsOfRanges(referenceRanges(weight, grid), args, weight.dtype, known);
}

/** Scale and zero point of each cell from its range. */
export function qparamsOfRanges(
  { low, high }: Ranges,
  args: QuantizationArgs,
  dtype: FloatDtype,
  known: TensorStatistics = NO_STATISTICS,
): Qparams {
  const scales = new Float32Array(low.length);
  const zeroPoints = new Int32Array(low.length);
  for (let cell = 0; cell < low.length; cell++) {
    const range = known.range ?? ([low[cell] ?? 0, high[cell] ?? 0] as const);
    const { scale, zeroPoint } = args.symmetric
      ? { scale: symmetricScale(range, args, dtype, known.globalScale ?? 0), zeroPoint: 0 }
      : asymmetricQparams(range, args, dtype);
    scales[cell] = scale;
    zeroPoints[cell] = zeroPoint;
  }
  return { scales, zeroPoints };
}

function symmetricScale(
  [low, high]: readonly [number, number],
  args: QuantizationArgs,
  dtype: FloatDtype,
  globalScale: number,
): number {
  const amax = Math.max(Math.abs(low), Math.abs(high));
  const storage = scaleStorage(args);
  if (storage === "e8m0") return mxScale(amax, args.num_bits, dtype);
  const [min, max] = quantizedRange(args);
  const scale = roundTo(dtype, amax / ((max - min) / 2));
  if (storage === "dtype") return scale || DTYPE_EPSILON[dtype];
  const local = Math.min(Math.fround(globalScale * scale), 448);
  return e4m3ToNumber(numberToE4m3(local)) || 0.125;
}

function asymmetricQparams(
  [low, high]: readonly [number, number],
  args: QuantizationArgs,
  dtype: FloatDtype,
) {
  const [min, max] = quantizedRange(args);
  const round = (value: number) => roundTo(dtype, value);
  const scale = round(round(high - low) / (max - min));
  // low / 0 is infinite, and 0 / 0 becomes 0
  if (scale === 0) return { scale: DTYPE_EPSILON[dtype], zeroPoint: low < 0 ? max : 0 };
  const shifted = round(min - round(low / scale));
  return { scale, zeroPoint: roundHalfToEven(Math.min(Math.max(shifted, min), max)) };
}

/** Codes, one per weight: integers, or the bits of e4m3 or e2m1 values (compressed-tensors `_quantize`). */
export function referenceCodes(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  grid: CellGrid,
  { scales, zeroPoints }: Qparams,
  globalScale = 0,
): Int32Array {
  return new Int32Array(weight.values.length).map((_, index) => {
    const value = weight.values[index] ?? 0;
    const cell = cellOf(weight, grid, index);
    const local = scales[cell] ?? 1;
    if (globalScale === 0) return codeOf(value, local, zeroPoints[cell] ?? 0, args, weight.dtype);
    return codeOf(value, Math.fround(local / globalScale), 0, args, "F32");
  });
}

function codeOf(
  value: number,
  scale: number,
  zeroPoint: number,
  args: QuantizationArgs,
  dtype: FloatDtype,
): number {
  const scaled = scaledValue(value, scale, zeroPoint, args, dtype);
  if (args.type === "int") return roundHalfToEven(scaled);
  if (scaled === 0) return 0;
  return args.num_bits === 4 ? numberToE2m1(scaled) : numberToE4m3(scaled);
}

/** What a code means, without its scale. */
export function codeValue(code: number, zeroPoint: number, args: QuantizationArgs): number {
  if (args.type === "int") return code - zeroPoint;
  return args.num_bits === 4 ? e2m1ToNumber(code) : e4m3ToNumber(code);
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
