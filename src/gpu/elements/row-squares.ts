import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import code from "./row-squares.wgsl?raw";
import { struct } from "../struct.ts";

export const rowSquaresKernel = kernel({
  name: "gpu.row-squares",
  code: [code],
  params: struct({
    columns: "u32",
    stride: "u32",
    offset: "u32",
    first_row: "u32",
    end_row: "u32",
    first_sum: "u32",
  }),
  bindings: { values: "read", sums: "read_write" },
  constants: ["ADDS"],
});

/** sums[first + row] = Σx² of each of some rows of `values`, (…, stride) float32, the first of them 0; with `adds`, += that. */
export async function rowSquares(
  gpu: Gpu,
  values: BufferPart,
  shape: {
    readonly firstRow?: number;
    readonly rows: number;
    readonly columns: number;
    readonly stride: number;
  },
  sums: BufferPart,
  { first: first_sum = 0, adds = false }: { readonly first?: number; readonly adds?: boolean } = {},
): Promise<void> {
  const { firstRow = 0, rows, columns, stride } = shape;
  const offset = firstRow * stride;
  for (const { first, end } of gpu.queue.split(rowSquaresKernel, rows, columns)) {
    await gpu.queue.run(rowSquaresKernel, {
      params: { columns, stride, offset, first_row: first, end_row: end, first_sum },
      buffers: { values, sums },
      constants: { ADDS: Number(adds) },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * columns,
    });
  }
}
