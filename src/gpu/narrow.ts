import type { FloatDtype } from "../formats/dtype.ts";
import { DTYPE_CODE } from "./dtype-code.ts";
import type { Gpu } from "./gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "./kernel.ts";
import numberFormats from "./number-formats.wgsl?raw";
import code from "./narrow.wgsl?raw";
import { struct } from "./struct.ts";

const WORKGROUP = 64;

export const narrowKernel = kernel({
  name: "gpu.narrow",
  code: [numberFormats, code],
  params: struct({ count: "u32", dtype: "u32" }),
  bindings: { values: "read", words: "read_write" },
});

/** Writes `count` float32 `values` as `dtype` into `words`, rounding to nearest, ties to even. */
export async function narrow(
  gpu: Gpu,
  values: BufferPart,
  words: BufferPart,
  count: number,
  dtype: FloatDtype,
): Promise<void> {
  const perWord = dtype === "F32" ? 1 : 2;
  await gpu.queue.run(narrowKernel, {
    params: { count, dtype: DTYPE_CODE[dtype] },
    buffers: { values, words },
    workgroups: spreadWorkgroups(Math.ceil(count / perWord / WORKGROUP)),
    work: count,
  });
}
