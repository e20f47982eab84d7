import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import code from "./row-differences.wgsl?raw";
import { struct } from "../struct.ts";

export const rowDifferencesKernel = kernel({
  name: "gpu.row-differences",
  code: [code],
  params: struct({ columns: "u32", stride: "u32", first_row: "u32", end_row: "u32", first_sum: "u32" }),
  bindings: { a: "read", b: "read", sums: "read_write" },
});

/** sums[first + row] = Σ(a − b)² and Σb², two floats a row, of (rows, stride) float32. */
export async function rowDifferences(
  gpu: Gpu,
  { a, b }: { readonly a: BufferPart; readonly b: BufferPart },
  shape: { readonly rows: number; readonly columns: number; readonly stride: number },
  sums: BufferPart,
  firstSum: number,
): Promise<void> {
  const { rows, columns, stride } = shape;
  for (const { first, end } of gpu.queue.split(rowDifferencesKernel, rows, columns)) {
    await gpu.queue.run(rowDifferencesKernel, {
      params: { columns, stride, first_row: first, end_row: end, first_sum: firstSum },
      buffers: { a, b, sums },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * columns,
    });
  }
}
