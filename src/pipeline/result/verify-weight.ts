// Whether stored codes mean the weights that they were made of.

import { VerificationError } from "../../errors.ts";
import {
  dequantized,
  type QuantizedWeight,
  type RowParts,
  visitRows,
  type VisitWeight,
} from "../../formats/weights/dequantize.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { quantizedRange } from "../../formats/schemes/quantization-args.ts";
import { mseSettings } from "../../quantize/observe/mse-settings.ts";
import { RANGE_SHARES, rangeShare } from "../../quantize/observe/range-shares.ts";

export interface SampledRows {
  readonly module: string;
  readonly weight: QuantizedWeight;
  readonly firstRow: number;
  readonly rows: number;
  readonly parts: RowParts;
}

/** Half of the distance between the largest two numbers that share a mantissa step, for each unit of a number. */
const EPSILON: Readonly<Record<FloatDtype, number>> = { BF16: 2 ** -8, F16: 2 ** -11, F32: 2 ** -23 };
/** The least number above 0, of which scales are multiples. */
const LEAST: Readonly<Record<FloatDtype, number>> = { BF16: 2 ** -133, F16: 2 ** -24, F32: 2 ** -149 };
/** A group's largest weight lies at most so far beyond its largest code: MX rounds scales to powers of two. */
const MAX_OVERSHOOT = 1.5;

/**
 * Compares codes with the weights that they were rounded from: each may be half a step off, and as much as the arithmetic
 * of the weight's dtype loses; a code at the end of its range may stand for a weight beyond.
 * @throws VerificationError naming module, place, and both values.
 */
export function checkRounded(sample: SampledRows, source: Float32Array): void {
  const { weight } = sample;
  const [min, max] = quantizedRange(weight.args);
  const checkCode = codeCheck(sample);
  const overshoot = MAX_OVERSHOOT / leastShrink(weight);
  // A scale of few of the least numbers is rounded to a multiple of them, and the range's end moves by so much for each step.
  const roundedOff = ((max - min) * LEAST[weight.dtype]) / 2;
  visitRows(weight, sample.firstRow, sample.rows, sample.parts, (index, code, zeroPoint, scale) => {
    checkCode(index, code, zeroPoint, scale);
    const value = dequantized("F32", code, zeroPoint, scale);
    const expected = source[index] ?? Number.NaN;
    const bound = tolerance(weight, code, zeroPoint, scale, expected);
    if (Math.abs(value - expected) <= bound) return;
    const beyond = (code <= min && expected < value) || (code >= max && expected > value);
    // The code's number is half a step from the range's end, and may be 0 where a zero point is the last code.
    if (beyond && Math.abs(expected) <= overshoot * (Math.abs(value) + bound) + roundedOff) return;
    throw new VerificationError(
      `${place(sample, index)} reads back as ${value}, but the source has ${expected}, and at most ${bound.toPrecision(3)} may be lost. The result must not be used: start the job again, and if this comes again, report it.`,
    );
  });
}

/**
 * For codes that need not be the nearest: all codes in range, all values finite.
 * @throws VerificationError naming module, place and value.
 */
export function checkInRange(sample: SampledRows): void {
  visitRows(sample.weight, sample.firstRow, sample.rows, sample.parts, codeCheck(sample));
}

/** Throws for a code, a zero point or a scale that cannot be. */
function codeCheck(sample: SampledRows): VisitWeight {
  const [min, max] = quantizedRange(sample.weight.args);
  return (index, code, zeroPoint, scale) => {
    const fits = code >= min && code <= max && zeroPoint >= Math.min(min, 0) && zeroPoint <= max;
    if (fits && Number.isFinite(scale) && scale > 0) return;
    throw new VerificationError(
      `${place(sample, index)} has the code ${code}, zero point ${zeroPoint} and scale ${scale}; codes lie in ${min} … ${max} and scales above 0. The result must not be used: start the job again, and if this comes again, report it.`,
    );
  };
}

function tolerance(
  { args, dtype }: QuantizedWeight,
  code: number,
  zeroPoint: number,
  scale: number,
  expected: number,
): number {
  // the quotient is rounded, and its sum with the zero point again
  const arithmetic = EPSILON[dtype] * (2 * Math.abs(expected / scale) + Math.abs(zeroPoint) + 1);
  // and what the code means is rounded to float32, which counts where that is subnormal
  return scale * (halfStep(args.type, args.num_bits, code) + arithmetic) + LEAST.F32;
}

/** Half of the distance from a code's number to its farther neighbour. */
function halfStep(type: "int" | "float", bits: number, code: number): number {
  if (type === "int") return 0.5;
  const magnitude = Math.abs(code);
  const mantissaBits = bits === 4 ? 1 : 3;
  const least = bits === 4 ? 0.5 : 2 ** -9;
  const spacing = 2 ** (Math.floor(Math.log2(magnitude || least)) - mantissaBits);
  return Math.max(spacing, least) / 2;
}

/** The smallest share of its range that a searching observer leaves a group. */
function leastShrink({ args }: QuantizedWeight): number {
  if (args.observer === "hessian_mse") return rangeShare(RANGE_SHARES.steps - 1);
  const settings = mseSettings(args);
  return settings ? 1 - (settings.steps - 1) / settings.grid : 1;
}

function place({ module, weight, firstRow }: SampledRows, index: number): string {
  const row = firstRow + Math.floor(index / weight.columns);
  return `${module}: the weight at row ${row}, column ${index % weight.columns},`;
}
