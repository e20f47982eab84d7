import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import { struct } from "../struct.ts";
import code from "./widen-rows.wgsl?raw";

const WORKGROUP = 64;
const VALUES = 2;

export const widenRowsKernel = kernel({
  name: "gpu.widen-rows",
  code: [code],
  params: struct({ words: "u32", first: "u32", end: "u32", factor: "f32" }),
  bindings: { table: "read", places: "read", values: "read_write" },
});

/**
 * Writes row `places[i]` of a bfloat16 `table` without gaps, times `factor`, as row i of `values`, (count, columns) float32.
 * @param shape columns is even
 */
export async function widenRows(
  gpu: Gpu,
  { table, places }: { readonly table: BufferPart; readonly places: BufferPart },
  values: BufferPart,
  { count, columns }: { readonly count: number; readonly columns: number },
  factor: number,
): Promise<void> {
  invariant(columns % VALUES === 0, "rows are whole words");
  const words = columns / VALUES;
  for (const { first, end } of gpu.queue.split(widenRowsKernel, count * words, VALUES, WORKGROUP)) {
    await gpu.queue.run(widenRowsKernel, {
      params: { words, first, end, factor },
      buffers: { table, places, values },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * VALUES,
    });
  }
}
