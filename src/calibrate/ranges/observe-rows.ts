import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import { struct } from "../../gpu/struct.ts";
import type { Activations } from "../forward/layer-weights.ts";
import code from "./observe-rows.wgsl?raw";

export const observeRowsKernel = kernel({
  name: "ranges.observe-rows",
  code: [code],
  params: struct({
    first_row: "u32",
    end_row: "u32",
    columns: "u32",
    stride: "u32",
    offset: "u32",
    slot: "u32",
  }),
  bindings: { values: "read", magnitudes: "read_write" },
});

/** Widens the range in `slot` (two float32: magnitude of the least number, and the largest) by rows [first, end). */
export async function observeRows(
  gpu: Gpu,
  { buffer, columns, stride, offset = 0 }: Activations,
  rows: { readonly first: number; readonly end: number },
  magnitudes: BufferPart,
  slot: number,
): Promise<void> {
  for (const run of gpu.queue.split(observeRowsKernel, rows.end - rows.first, columns)) {
    const first_row = rows.first + run.first;
    const end_row = rows.first + run.end;
    await gpu.queue.run(observeRowsKernel, {
      params: { first_row, end_row, columns, stride, offset, slot },
      buffers: { values: buffer, magnitudes },
      workgroups: spreadWorkgroups(end_row - first_row),
      work: (end_row - first_row) * columns,
    });
  }
}
