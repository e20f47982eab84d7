// The scale of a whole tensor in NVFP4, which brings its groups' scales into the range of e4m3.
// Source: compressed-tensors `generate_gparam` (quantization/utils/helpers.py).

import { type FloatDtype, roundTo } from "./dtype.ts";

/** Largest e4m3 value times largest e2m1 value. */
const FULL_RANGE = 448 * 6;
/** `torch.finfo(dtype).tiny`. */
const TINY: Readonly<Record<FloatDtype, number>> = { BF16: 2 ** -126, F16: 2 ** -14, F32: 2 ** -126 };

/**
 * 2688 / amax in the arithmetic of `dtype`, in which torch divides a number by a tensor: the reciprocal, rounded, times the
 * number, rounded. An overflow gives 1: no global scaling.
 */
export function globalScale(amax: number, dtype: FloatDtype): number {
  const reciprocal = roundTo(dtype, 1 / Math.max(amax, TINY[dtype]));
  const scale = roundTo(dtype, reciprocal * FULL_RANGE);
  return Number.isFinite(scale) ? scale : 1;
}
