import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel } from "../../gpu/kernel.ts";
import { struct } from "../../gpu/struct.ts";
import type { Activations } from "../forward/layer-weights.ts";
import code from "./column-extents.wgsl?raw";

/** Columns of a workgroup. */
const STRIP = 32;
/** Rows of one dispatch: float32 sums of more would lose what the last ones add. */
const ROWS_EACH = 4096;

export const columnExtentsKernel = kernel({
  name: "channels.column-extents",
  code: [code],
  params: struct({
    first_row: "u32",
    end_row: "u32",
    columns: "u32",
    stride: "u32",
    offset: "u32",
    first_strip: "u32",
    fresh: "u32",
  }),
  bindings: { values: "read", extents: "read_write" },
});

/**
 * Widens `extents`, (3, columns) float32, by the rows of `values`: smallest, largest, Σ|x|.
 * @param seen rows that `extents` knows already; with 0, what it holds does not count
 */
export async function widenColumnExtents(
  gpu: Gpu,
  { buffer, rows, columns, stride, offset = 0 }: Activations,
  extents: BufferPart,
  seen: number,
): Promise<void> {
  const strips = Math.ceil(columns / STRIP);
  for (let first_row = 0; first_row < rows; first_row += ROWS_EACH) {
    const end_row = Math.min(first_row + ROWS_EACH, rows);
    const fresh = Number(seen + first_row === 0);
    const workEach = (end_row - first_row) * STRIP;
    for (const { first, end } of gpu.queue.split(columnExtentsKernel, strips, workEach)) {
      await gpu.queue.run(columnExtentsKernel, {
        params: { first_row, end_row, columns, stride, offset, first_strip: first, fresh },
        buffers: { values: buffer, extents },
        workgroups: [end - first],
        work: (end - first) * workEach,
      });
    }
  }
}
