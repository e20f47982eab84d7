// Refinement in plain TypeScript and float64: rows of codes and scales that some method chose are made to fit the layer
// better, one scale and one code at a time. With e = q − w the layer's loss is ½ e H eᵀ for each row, and its slope by q is
// G = e H. Both steps are exact minimisations in one variable, rounded to what the format can hold and taken only if the
// loss falls: it never rises.
//
// W and codes are (rows, n) row-major, H is (n, n), scales and zero points (rows, groups); where the tensor has a global
// scale (NVFP4), scales are what loaders multiply by: the group's over that.

import { roundHalfToEven, roundTo } from "../../formats/numbers/dtype.ts";
import { numberToE4m3 } from "../../formats/numbers/fp8.ts";
import { numberToE2m1 } from "../../formats/numbers/fp4.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { scaleStorage } from "../../formats/schemes/compression-format.ts";
import { e4m3ToNumber } from "../../formats/numbers/fp8.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { codeValue } from "../rtn/reference.ts";

export interface RefineProblem {
  readonly weights: Float64Array;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly n: number;
  /** Damped Hessian. */
  readonly hessian: Float64Array;
  readonly args: QuantizationArgs;
  /** Columns in the order of the walk; those of a group follow each other. */
  readonly columns: Uint32Array;
  /** Group of each column of the weight. */
  readonly groupOf: Uint32Array;
  /** NVFP4's scale of the whole tensor; 0 where there is none. */
  readonly globalScale: number;
}

/** What is refined, in place. */
export interface RefinedCodes {
  readonly codes: Int32Array;
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
}

/** A scale changes by these factors at most: beyond, a row with hardly a code left would follow noise. */
export const SCALE_BOUNDS = [0.3, 2] as const;

/**
 * Fits each scale in closed form with the others fixed: with v = number − zero point in the group, else 0, the loss is least
 * at s − (v · G) / (v H vᵀ).
 */
export function referenceFit(problem: RefineProblem, refined: RefinedCodes): void {
  const { rows, n, columns, groupOf, hessian } = problem;
  for (let row = 0; row < rows; row++) {
    const errors = errorsOf(problem, refined, row);
    for (let first = 0; first < n;) {
      const group = groupOf[columns[first] ?? 0] ?? 0;
      let end = first;
      while (end < n && groupOf[columns[end] ?? 0] === group) end++;
      fitGroup(problem, refined, { row, group, members: columns.subarray(first, end), errors, hessian });
      first = end;
    }
  }
}

interface GroupPlace {
  readonly row: number;
  readonly group: number;
  readonly members: Uint32Array;
  readonly errors: Float64Array;
  readonly hessian: Float64Array;
}

function fitGroup(problem: RefineProblem, refined: RefinedCodes, place: GroupPlace): void {
  const { n, args, dtype } = problem;
  const { row, group, members, errors, hessian } = place;
  const cell = cellOf(problem, refined, row, group);
  const zeroPoint = refined.zeroPoints[cell] ?? 0;
  const numbers = Array.from(members, (column) =>
    codeValue(refined.codes[row * n + column] ?? 0, zeroPoint, args),
  );
  const slopes = Array.from(members, (column) => dotRow(hessian, n, column, errors));
  const curvature = quadratic(hessian, n, members, numbers);
  if (!(curvature > 0)) return;
  const old = refined.scales[cell] ?? 1;
  const least = old - dot(numbers, slopes) / curvature;
  const fitted = nearestScale(
    problem,
    Math.min(Math.max(least, SCALE_BOUNDS[0] * old), SCALE_BOUNDS[1] * old),
  );
  if (!(fitted > 0)) return;
  const changes = numbers.map((number) => roundTo(dtype, number * fitted) - roundTo(dtype, number * old));
  const gain = dot(changes, slopes) + quadratic(hessian, n, members, changes) / 2;
  if (!(gain < 0)) return;
  refined.scales[cell] = fitted;
  members.forEach((column, index) => {
    errors[column] = (errors[column] ?? 0) + (changes[index] ?? 0);
  });
}

/** One pass over the codes: each becomes the one nearest to q − G / H_jj, where the loss is least with the others fixed. */
export function referenceDescend(problem: RefineProblem, refined: RefinedCodes): void {
  const { rows, n, args, dtype, columns, groupOf, hessian } = problem;
  const [min, max] = quantizedRange(args);
  for (let row = 0; row < rows; row++) {
    const errors = errorsOf(problem, refined, row);
    for (const column of columns) {
      const cell = cellOf(problem, refined, row, groupOf[column] ?? 0);
      const scale = refined.scales[cell] ?? 1;
      const zeroPoint = refined.zeroPoints[cell] ?? 0;
      const meaning = (code: number) => roundTo(dtype, codeValue(code, zeroPoint, args) * scale);
      const value = meaning(refined.codes[row * n + column] ?? 0);
      const goal = value - dotRow(hessian, n, column, errors) / (hessian[column * n + column] ?? 1);
      const code = nearestCode(Math.min(Math.max(goal / scale + zeroPoint, min), max), args);
      const chosen = meaning(code);
      if (!(Math.abs(chosen - goal) < Math.abs(value - goal))) continue;
      refined.codes[row * n + column] = code;
      errors[column] = (errors[column] ?? 0) + chosen - value;
    }
  }
}

/** What the codes mean, (rows, n). */
export function refinedValues(problem: RefineProblem, refined: RefinedCodes): Float64Array {
  const { rows, n, args, dtype, groupOf } = problem;
  return Float64Array.from({ length: rows * n }, (_, index) => {
    const cell = cellOf(problem, refined, Math.floor(index / n), groupOf[index % n] ?? 0);
    const number = codeValue(refined.codes[index] ?? 0, refined.zeroPoints[cell] ?? 0, args);
    return roundTo(dtype, number * (refined.scales[cell] ?? 1));
  });
}

function errorsOf(problem: RefineProblem, refined: RefinedCodes, row: number): Float64Array {
  const { n, weights } = problem;
  const codes = refined.codes.subarray(row * n, row * n + n);
  const cells = refined.scales.length / problem.rows;
  const own = (values: Float32Array | Int32Array) => values.subarray(row * cells, (row + 1) * cells);
  const values = refinedValues(
    { ...problem, rows: 1 },
    { codes, scales: own(refined.scales) as Float32Array, zeroPoints: own(refined.zeroPoints) as Int32Array },
  );
  return values.map((value, column) => value - (weights[row * n + column] ?? 0));
}

function cellOf({ rows }: RefineProblem, { scales }: RefinedCodes, row: number, group: number): number {
  return row * (scales.length / rows) + group;
}

/** The scale of the format that is nearest to a value. */
function nearestScale({ args, dtype, globalScale }: RefineProblem, scale: number): number {
  const storage = scaleStorage(args);
  if (storage === "dtype") return roundTo(dtype, scale);
  if (storage === "e4m3")
    return Math.fround(
      e4m3ToNumber(numberToE4m3(Math.min(Math.fround(scale * globalScale), 448))) / globalScale,
    );
  const below = 2 ** Math.floor(Math.log2(scale));
  return scale < 1.5 * below ? below : 2 * below;
}

function nearestCode(scaled: number, args: QuantizationArgs): number {
  if (args.type === "int") return roundHalfToEven(scaled);
  if (scaled === 0) return 0;
  return args.num_bits === 4 ? numberToE2m1(scaled) : numberToE4m3(scaled);
}

function dotRow(matrix: Float64Array, n: number, row: number, values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += (matrix[row * n + i] ?? 0) * (values[i] ?? 0);
  return sum;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}

/** v H vᵀ for v on the given columns. */
function quadratic(matrix: Float64Array, n: number, members: Uint32Array, v: readonly number[]): number {
  let total = 0;
  members.forEach((row, i) => {
    let sum = 0;
    members.forEach((column, j) => {
      sum += (matrix[row * n + column] ?? 0) * (v[j] ?? 0);
    });
    total += sum * (v[i] ?? 0);
  });
  return total;
}
