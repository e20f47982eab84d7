// |x|^norm for every 16-bit x. torch computes powers of bfloat16 and float16 in float32 with the exponent rounded to the
// dtype, and rounds the result: all of it is known beforehand, so the GPU looks it up and gives torch's bits.

import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16, roundTo } from "../../formats/dtype.ts";

/** Magnitudes of a 16-bit format. */
const ENTRIES = 32_768;
export const POWER_TABLE_BYTES = ENTRIES * 2;

/** Names a table; float32 needs none. */
export function powerTableKey(dtype: "BF16" | "F16", norm: number): string {
  return `${dtype} ${norm}`;
}

/** Bits of |x|^norm by the bits of |x|, both in `dtype`. */
export function powerTable(dtype: "BF16" | "F16", norm: number): Uint16Array<ArrayBuffer> {
  const exponent = roundTo(dtype, norm);
  const [toNumber, toBits] = dtype === "BF16" ? [bf16ToNumber, numberToBf16] : [f16ToNumber, numberToF16];
  return Uint16Array.from({ length: ENTRIES }, (_, bits) => toBits(Math.fround(toNumber(bits) ** exponent)));
}
