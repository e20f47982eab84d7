import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import { struct } from "../../gpu/struct.ts";
import code from "./row-squares.wgsl?raw";

export const rowSquaresKernel = kernel({
  name: "blocks.row-squares",
  code: [code],
  params: struct({ columns: "u32", first_row: "u32", end_row: "u32", first_sum: "u32" }),
  bindings: { values: "read", sums: "read_write" },
});

/** sums[first_sum + row] += Σx² of the row; `values` is (rows, columns) float32 without gaps. */
export async function addRowSquares(
  gpu: Gpu,
  { values, rows, columns }: { readonly values: BufferPart; readonly rows: number; readonly columns: number },
  sums: BufferPart,
  first_sum: number,
): Promise<void> {
  for (const { first, end } of gpu.queue.split(rowSquaresKernel, rows, columns)) {
    await gpu.queue.run(rowSquaresKernel, {
      params: { columns, first_row: first, end_row: end, first_sum },
      buffers: { values, sums },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * columns,
    });
  }
}
