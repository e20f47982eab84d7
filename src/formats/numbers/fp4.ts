// The 4-bit float e2m1 on the CPU: 1 sign, 2 exponent, 1 mantissa bit. Codes as compressed-tensors stores them
// (`compressors/nvfp4/helpers.py`): the low three bits are the index of the magnitude, bit 3 is the sign.

const E2M1_VALUES: readonly number[] = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
/** Largest value of which each magnitude but the last is the nearest; a tie goes to the even code. */
const UPPER_BOUNDS = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5] as const;

export function e2m1ToNumber(code: number): number {
  const magnitude = E2M1_VALUES[code & 7] ?? 0;
  return code & 8 ? -magnitude : magnitude;
}

/**
 * Code of the nearest value, ties to the even code (compressed-tensors `cast_to_fp4`). The sign of what rounds to zero is
 * kept, but a zero itself has none: the library multiplies by sign(0) = 0.
 */
export function numberToE2m1(value: number): number {
  const magnitude = Math.abs(value);
  const index = UPPER_BOUNDS.findIndex(
    (bound, code) => magnitude < bound || (magnitude === bound && code % 2 === 0),
  );
  return (index < 0 ? 7 : index) | (value < 0 ? 8 : 0);
}
