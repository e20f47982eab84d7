// float8_e4m3fn on the CPU: 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinities; 0x7f is NaN; largest 448.

import { roundHalfToEven } from "./dtype.ts";

export function e4m3ToNumber(code: number): number {
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code >>> 3) & 0xf;
  const mantissa = code & 7;
  if ((code & 0x7f) === 0x7f) return Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -9 : sign * (8 + mantissa) * 2 ** (exponent - 10);
}

/** Code of the nearest value, ties to even. `value` must lie in −448 … 448. */
export function numberToE4m3(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === 0) return sign;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -6);
  const mantissa = roundHalfToEven(magnitude / 2 ** (exponent - 3));
  // Below 8 the number is subnormal and its exponent field 0; 16 carries into the next exponent by itself.
  return sign | (((exponent + 6) << 3) + mantissa);
}
