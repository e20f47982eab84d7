import type { FloatDtype } from "../../formats/numbers/dtype.ts";

/** The dtype as number-formats.wgsl names it. */
export const DTYPE_CODE: Readonly<Record<FloatDtype, number>> = { BF16: 0, F16: 1, F32: 2 };

/** `torch.finfo(dtype).eps`: what a zero scale becomes, so that nothing is divided by zero. */
export const DTYPE_EPSILON: Readonly<Record<FloatDtype, number>> = {
  BF16: 2 ** -7,
  F16: 2 ** -10,
  F32: 2 ** -23,
};
