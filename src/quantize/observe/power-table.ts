// |x|^norm for every 16-bit x. torch computes powers of bfloat16 and float16 in float32 with the exponent rounded to the
// dtype, and rounds the result; cubes of bfloat16 it multiplies, and rounds twice. All of it is known beforehand, so the GPU
// looks it up and gives torch's bits.

import {
  bf16ToNumber,
  f16ToNumber,
  type FloatDtype,
  numberToBf16,
  numberToF16,
  roundTo,
} from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { mseSettings } from "./mse-settings.ts";

/** Magnitudes of a 16-bit format. */
const ENTRIES = 32_768;
export const POWER_TABLE_BYTES = ENTRIES * 2;

export interface PowerTable {
  readonly dtype: "BF16" | "F16";
  readonly norm: number;
}

/** The table that a weight's observer looks up; null if it computes in float32, or does not search. */
export function powerTableFor(weights: QuantizationArgs, dtype: FloatDtype): PowerTable | null {
  const settings = mseSettings(weights);
  if (!settings || settings.weighted || dtype === "F32") return null;
  return { dtype, norm: settings.norm };
}

/** Names a table. */
export function powerTableKey({ dtype, norm }: PowerTable): string {
  return `${dtype} ${norm}`;
}

/** Bits of |x|^norm by the bits of |x|, both in `dtype`. */
export function powerTable({ dtype, norm }: PowerTable): Uint16Array<ArrayBuffer> {
  const exponent = roundTo(dtype, norm);
  const [toNumber, toBits] = dtype === "BF16" ? [bf16ToNumber, numberToBf16] : [f16ToNumber, numberToF16];
  const power = (x: number) =>
    dtype === "BF16" && exponent === 3 ? roundTo(dtype, x * x) * x : Math.fround(x ** exponent);
  return Uint16Array.from({ length: ENTRIES }, (_, bits) => toBits(power(toNumber(bits))));
}
