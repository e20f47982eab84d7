import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel } from "../../gpu/kernel.ts";
import { struct } from "../../gpu/struct.ts";
import type { Activations } from "../forward/layer-weights.ts";
import code from "./column-squares.wgsl?raw";

/** Columns of a workgroup. */
const STRIP = 32;
/** Rows of one dispatch: float32 sums of more would lose what the last ones add. */
const ROWS_EACH = 4096;

export const columnSquaresKernel = kernel({
  name: "squares.column-squares",
  code: [code],
  params: struct({
    first_row: "u32",
    end_row: "u32",
    columns: "u32",
    stride: "u32",
    offset: "u32",
    first_strip: "u32",
  }),
  bindings: { values: "read", sums: "read_write" },
});

/** sums[column] += Σx² over the rows of `values`, (rows, columns) float32. */
export async function addColumnSquares(
  gpu: Gpu,
  { buffer, rows, columns, stride, offset = 0 }: Activations,
  sums: BufferPart,
): Promise<void> {
  const strips = Math.ceil(columns / STRIP);
  for (let first_row = 0; first_row < rows; first_row += ROWS_EACH) {
    const end_row = Math.min(first_row + ROWS_EACH, rows);
    const workEach = (end_row - first_row) * STRIP;
    for (const { first, end } of gpu.queue.split(columnSquaresKernel, strips, workEach)) {
      await gpu.queue.run(columnSquaresKernel, {
        params: { first_row, end_row, columns, stride, offset, first_strip: first },
        buffers: { values: buffer, sums },
        workgroups: [end - first],
        work: (end - first) * workEach,
      });
    }
  }
}
