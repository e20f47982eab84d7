// The largest magnitude of a matrix on the GPU: what the scale of its values in halves is chosen by.

import { DTYPE_BITS, type FloatDtype } from "../../formats/numbers/dtype.ts";
import { DTYPE_CODE } from "../elements/dtype-code.ts";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import numberFormats from "../elements/number-formats.wgsl?raw";
import { struct } from "../struct.ts";
import code from "./largest-magnitude.wgsl?raw";

export const largestMagnitudeKernel = kernel({
  name: "gpu.largest-magnitude",
  code: [numberFormats, code],
  params: struct({ rows: "u32", columns: "u32", stride: "u32", offset: "u32", slot: "u32" }),
  bindings: { values: "read", largest: "read_write" },
  constants: ["DTYPE"],
});

export interface ScannedMatrix {
  readonly buffer: BufferPart;
  readonly rows: number;
  readonly columns: number;
  /** Elements from row to row, and before the first: multiples of 16 bytes' worth. */
  readonly stride: number;
  readonly offset?: number;
  readonly dtype: FloatDtype;
}

/**
 * Raises word `slot` of `largest` to the float32 bits of the matrix's largest magnitude; the caller clears it before. The bits
 * of an infinity or a NaN, 0x7f800000 and above, if there is one.
 */
export async function findLargestMagnitude(
  gpu: Gpu,
  { buffer, rows, columns, stride, offset = 0, dtype }: ScannedMatrix,
  largest: BufferPart,
  slot: number,
): Promise<void> {
  await gpu.queue.run(largestMagnitudeKernel, {
    params: { rows, columns, stride, offset, slot },
    buffers: { values: buffer, largest },
    constants: { DTYPE: DTYPE_CODE[dtype] },
    workgroups: spreadWorkgroups(rows),
    work: (rows * columns * DTYPE_BITS[dtype]) / 8,
  });
}
