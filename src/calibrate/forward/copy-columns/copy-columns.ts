import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import type { Matrix } from "../../../gpu/matmul/matmul.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./copy-columns.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;

export const copyColumnsKernel = kernel({
  name: "forward.copy-columns",
  code: [code],
  params: struct({
    columns: "u32",
    x_stride: "u32",
    x_offset: "u32",
    y_stride: "u32",
    y_offset: "u32",
    first_index: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { index: "read", x: "read", y: "read_write" },
  constants: ["INDEXED"],
});

/** Rows of x, one u32 for each row of y, from entry `first` on. */
export interface RowIndex {
  readonly buffer: BufferPart;
  readonly first: number;
}

/**
 * y = x, y's rows and columns of it, or the rows of x that an index names. Columns, strides and offsets are multiples of 4; x
 * and y lie in different buffers.
 */
export async function copyColumns(
  gpu: Gpu,
  x: Matrix,
  y: Activations,
  index: RowIndex | null = null,
): Promise<void> {
  const columns = y.columns / LANES;
  for (const { first, end } of gpu.queue.split(copyColumnsKernel, y.rows * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(copyColumnsKernel, {
      params: {
        columns,
        x_stride: x.stride / LANES,
        x_offset: (x.offset ?? 0) / LANES,
        y_stride: y.stride / LANES,
        y_offset: (y.offset ?? 0) / LANES,
        first_index: index?.first ?? 0,
        first,
        end,
      },
      // A binding that is not read still needs a buffer.
      buffers: { index: index?.buffer ?? x.buffer, x: x.buffer, y: y.buffer },
      constants: { INDEXED: Number(index !== null) },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}
