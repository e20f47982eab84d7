import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel } from "../../gpu/kernel.ts";
import { struct } from "../../gpu/struct.ts";
import { columnStrips, STRIP_FIELDS } from "../column-strips.ts";
import stripsCode from "../column-strips.wgsl?raw";
import type { Activations } from "../forward/layer-weights.ts";
import code from "./column-squares.wgsl?raw";

export const columnSquaresKernel = kernel({
  name: "squares.column-squares",
  code: [stripsCode, code],
  params: struct(STRIP_FIELDS),
  bindings: { values: "read", sums: "read_write", lane_sums: "read_write" },
});

/**
 * sums[column] += Σx² over the rows of `values`, (rows, columns) float32.
 * @param laneSums (LANE_SUMS, columns) float32: what the sums go on from
 * @param seen rows that are in the sums already; with 0, what both hold does not count
 */
export async function addColumnSquares(
  gpu: Gpu,
  values: Activations,
  sums: BufferPart,
  laneSums: BufferPart,
  seen: number,
): Promise<void> {
  const { buffer, columns, stride, offset = 0 } = values;
  for (const { place, ...size } of columnStrips(gpu, columnSquaresKernel, values, seen)) {
    await gpu.queue.run(columnSquaresKernel, {
      params: { ...place, columns, stride, offset },
      buffers: { values: buffer, sums, lane_sums: laneSums },
      ...size,
    });
  }
}
