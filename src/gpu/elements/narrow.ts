import { DTYPE_BITS, type FloatDtype } from "../../formats/numbers/dtype.ts";
import { DTYPE_CODE } from "./dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import numberFormats from "./number-formats.wgsl?raw";
import code from "./narrow.wgsl?raw";
import { struct } from "../struct.ts";

const WORKGROUP = 64;

/** Formats that scales are stored in. */
export type NarrowDtype = FloatDtype | "F8_E4M3" | "F8_E8M0";

const NARROW_CODE: Readonly<Record<NarrowDtype, number>> = { ...DTYPE_CODE, F8_E4M3: 3, F8_E8M0: 4 };

export const narrowKernel = kernel({
  name: "gpu.narrow",
  code: [numberFormats, code],
  params: struct({ count: "u32", dtype: "u32" }),
  bindings: { values: "read", words: "read_write" },
});

/**
 * Writes `count` float32 `values` as `dtype` into `words`, rounding to nearest, ties to even. As F8_E8M0 they must be powers
 * of two, as F8_E4M3 at most 448.
 */
export async function narrow(
  gpu: Gpu,
  values: BufferPart,
  words: BufferPart,
  count: number,
  dtype: NarrowDtype,
): Promise<void> {
  const perWord = 32 / DTYPE_BITS[dtype];
  await gpu.queue.run(narrowKernel, {
    params: { count, dtype: NARROW_CODE[dtype] },
    buffers: { values, words },
    workgroups: spreadWorkgroups(Math.ceil(count / perWord / WORKGROUP)),
    work: count,
  });
}
