// GPTQ in plain TypeScript and float64, one column at a time: the form with one factorisation and no inverse (GPTQ is
// Babai's nearest plane, arXiv 2507.18553), which gives the codes of the form with chol(inv(H)) (arXiv 2210.17323).
//
// W is (rows, n) row-major, H is (n, n). `order` lists columns as they are quantized. With H reordered and its rows and
// columns reversed = L Lᵀ, column a (counted from the end) is quantized to Q(w_a + Σ_{i>a} (w_i − q_i) L_ia / L_aa).

import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { quantizedRange } from "../../formats/schemes/quantization-args.ts";
import { type FloatDtype, roundHalfToEven, roundTo } from "../../formats/numbers/dtype.ts";
import { numberToE2m1 } from "../../formats/numbers/fp4.ts";
import { numberToE4m3 } from "../../formats/numbers/fp8.ts";
import { codeValue } from "../rtn/reference.ts";

export interface ReferenceInput {
  readonly weights: Float64Array;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly n: number;
  /** Damped Hessian. */
  readonly hessian: Float64Array;
  /** What is rounded to; the weights themselves if absent. */
  readonly targets?: Float64Array;
  readonly order: Uint32Array;
  readonly args: QuantizationArgs;
  /** Scale and zero point of a column in a row. */
  readonly qparams: (row: number, column: number) => { readonly scale: number; readonly zeroPoint: number };
}

export interface ReferenceResult {
  /** One code per weight, in the original column order. */
  readonly codes: Int32Array;
  /** ½ Σ ((x − q) L_aa)²: half the Hessian-weighted squared error. */
  readonly loss: number;
}

export function referenceGptq(input: ReferenceInput): ReferenceResult {
  const { rows, n, order, args, dtype, targets = input.weights } = input;
  const factor = choleskyOfReversed(input.hessian, order, n);
  const codes = new Int32Array(rows * n);
  let loss = 0;
  for (let row = 0; row < rows; row++) {
    const errors = new Float64Array(n);
    for (let a = n - 1; a >= 0; a--) {
      const column = order[n - 1 - a] ?? 0;
      const diagonal = factor[a * n + a] ?? 1;
      let shift = 0;
      for (let i = a + 1; i < n; i++) shift += (errors[i] ?? 0) * (factor[i * n + a] ?? 0);
      const weight = targets[row * n + column] ?? 0;
      const target = weight + shift / diagonal;
      const { scale, zeroPoint } = input.qparams(row, column);
      const code = nearestCode(target / scale + zeroPoint, args);
      const value = roundTo(dtype, codeValue(code, zeroPoint, args) * scale);
      codes[row * n + column] = code;
      errors[a] = weight - value;
      loss += 0.5 * ((target - value) * diagonal) ** 2;
    }
  }
  return { codes, loss };
}

/** Code of the number nearest to x. */
function nearestCode(x: number, args: QuantizationArgs): number {
  const [min, max] = quantizedRange(args);
  const clamped = Math.min(Math.max(x, min), max);
  if (args.type === "int") return roundHalfToEven(clamped);
  const code = args.num_bits === 4 ? numberToE2m1(clamped) : numberToE4m3(clamped);
  return codeValue(code, 0, args) === 0 ? 0 : code;
}

/** W + share · W D H⁻¹, for D = (X̃ − X)ᵀX (n, n) and the damped H = L Lᵀ in the order of the columns. */
export function referenceTargets(
  weights: Float64Array,
  drift: Float64Array,
  hessian: Float64Array,
  { rows, n, share }: { readonly rows: number; readonly n: number; readonly share: number },
): Float64Array {
  const reversed = Uint32Array.from({ length: n }, (_, index) => n - 1 - index);
  const l = choleskyOfReversed(hessian, reversed, n);
  const targets = Float64Array.from(weights);
  for (let row = 0; row < rows; row++) {
    const moved = Float64Array.from({ length: n }, (_, j) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (weights[row * n + i] ?? 0) * (drift[i * n + j] ?? 0);
      return sum;
    });
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) moved[i] = (moved[i] ?? 0) - (l[i * n + j] ?? 0) * (moved[j] ?? 0);
      moved[i] = (moved[i] ?? 0) / (l[i * n + i] ?? 1);
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let j = i + 1; j < n; j++) moved[i] = (moved[i] ?? 0) - (l[j * n + i] ?? 0) * (moved[j] ?? 0);
      moved[i] = (moved[i] ?? 0) / (l[i * n + i] ?? 1);
    }
    moved.forEach((value, column) => {
      targets[row * n + column] = (targets[row * n + column] ?? 0) + share * value;
    });
  }
  return targets;
}

/** L of the reordered and reversed Hessian: row and column a are those of column order[n − 1 − a]. */
export function choleskyOfReversed(hessian: Float64Array, order: Uint32Array, n: number): Float64Array {
  const at = (a: number) => order[n - 1 - a] ?? 0;
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = hessian[at(i) * n + at(j)] ?? 0;
      for (let k = 0; k < j; k++) sum -= (l[i * n + k] ?? 0) * (l[j * n + k] ?? 0);
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / (l[j * n + j] ?? 1);
    }
  }
  return l;
}

/** ½ tr(ΔW H ΔWᵀ). */
export function hessianWeightedError(
  delta: Float64Array,
  hessian: Float64Array,
  rows: number,
  n: number,
): number {
  let total = 0;
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < n; i++) {
      let product = 0;
      for (let j = 0; j < n; j++) product += (hessian[i * n + j] ?? 0) * (delta[row * n + j] ?? 0);
      total += 0.5 * product * (delta[row * n + i] ?? 0);
    }
  }
  return total;
}
