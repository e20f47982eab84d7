import type { Gpu } from "../../gpu/gpu.ts";
import { kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import type { Matrix } from "../../gpu/matmul/matmul.ts";
import { struct } from "../../gpu/struct.ts";
import type { Activations } from "../forward/layer-weights.ts";
import code from "./subtract-rows.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;

export const subtractRowsKernel = kernel({
  name: "calibrate.subtract-rows",
  code: [code],
  params: struct({
    columns: "u32",
    x_stride: "u32",
    x_offset: "u32",
    y_stride: "u32",
    y_offset: "u32",
    first: "u32",
    end: "u32",
  }),
  bindings: { x: "read", y: "read_write" },
});

/** y = y − x for y's rows and columns. Columns, strides and offsets are multiples of 4; x and y lie in different buffers. */
export async function subtractRows(gpu: Gpu, x: Matrix, y: Activations): Promise<void> {
  const columns = y.columns / LANES;
  for (const { first, end } of gpu.queue.split(subtractRowsKernel, y.rows * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(subtractRowsKernel, {
      params: {
        columns,
        x_stride: x.stride / LANES,
        x_offset: (x.offset ?? 0) / LANES,
        y_stride: y.stride / LANES,
        y_offset: (y.offset ?? 0) / LANES,
        first,
        end,
      },
      buffers: { x: x.buffer, y: y.buffer },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}
