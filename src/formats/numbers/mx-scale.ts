// Scales of the OCP microscaling formats (MXFP4, MXFP8): powers of two, stored as E8M0 bytes with a bias of 127.
// Source: compressed-tensors `quantization/utils/mxfp_utils.py` and `compressors/mx_utils.py`.

import type { FloatDtype } from "./dtype.ts";

const E8M0_BIAS = 127;

/** floor(log2(largest value)) of the element type: 6 for e2m1, 448 for e4m3. */
function mxElementExponent(numBits: number): number {
  return numBits === 4 ? 2 : 8;
}

/** Exponent of the smallest normal number. */
const LEAST_NORMAL: Readonly<Record<FloatDtype, number>> = { BF16: -126, F16: -14, F32: -126 };

/**
 * The scale of a group from its largest magnitude, which must be a value of `dtype`: the power of two that 7/4 of it
 * reaches (so 1.75 and more rounds up), less the element's own largest exponent. The library adds a quarter to the mantissa
 * and drops it, so that what reaches 3/4 of the least normal number counts as that, and a smaller group as zero. It gets the
 * least scale, 2^-127; float16 cannot hold that, and the library then takes 1.
 */
export function mxScale(amax: number, numBits: number, dtype: FloatDtype): number {
  const leastNormal = 2 ** LEAST_NORMAL[dtype];
  if (amax < 0.75 * leastNormal) return dtype === "F16" ? 1 : 2 ** -E8M0_BIAS;
  const exponent = Math.max(exponentOf(amax), LEAST_NORMAL[dtype]);
  const up = amax >= 1.75 * 2 ** exponent ? 1 : 0;
  return 2 ** Math.max(exponent + up - mxElementExponent(numBits), -E8M0_BIAS);
}

function exponentOf(value: number): number {
  if (value === 0) return -Infinity;
  const estimate = Math.floor(Math.log2(value));
  if (2 ** estimate > value) return estimate - 1;
  return 2 ** (estimate + 1) <= value ? estimate + 1 : estimate;
}

export function e8m0ToNumber(byte: number): number {
  return 2 ** (byte - E8M0_BIAS);
}

/** The byte of a scale that is a power of two. */
export function numberToE8m0(scale: number): number {
  return exponentOf(scale) + E8M0_BIAS;
}
