// The constants of code-values.wgsl: which numbers the codes of a weight stand for.

import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";

/** What a kernel that joins code-values.wgsl lists among its constants. */
export const CODE_CONSTANTS = ["IS_FLOAT", "CODE_BITS", "MANTISSA_BITS", "LEAST_EXPONENT"] as const;

type CodeConstants = { readonly [Name in (typeof CODE_CONSTANTS)[number]]?: number };

/** Integers need no constants: the range of their codes says all. */
const INTEGERS: CodeConstants = {};
const E2M1: CodeConstants = { IS_FLOAT: 1, CODE_BITS: 4, MANTISSA_BITS: 1, LEAST_EXPONENT: 0 };
const E4M3: CodeConstants = { IS_FLOAT: 1, CODE_BITS: 8, MANTISSA_BITS: 3, LEAST_EXPONENT: -6 };

/** Constants for integers, e2m1 or e4m3. */
export function codeConstants({
  type,
  num_bits,
}: Pick<QuantizationArgs, "type" | "num_bits">): CodeConstants {
  if (type === "int") return INTEGERS;
  return num_bits === 4 ? E2M1 : E4M3;
}
