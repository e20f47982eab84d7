import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel } from "../../gpu/kernel.ts";
import { struct } from "../../gpu/struct.ts";
import { columnStrips, STRIP_FIELDS } from "../column-strips.ts";
import stripsCode from "../column-strips.wgsl?raw";
import type { Activations } from "../forward/layer-weights.ts";
import code from "./column-extents.wgsl?raw";

export const columnExtentsKernel = kernel({
  name: "channels.column-extents",
  code: [stripsCode, code],
  params: struct(STRIP_FIELDS),
  bindings: { values: "read", extents: "read_write", lane_sums: "read_write" },
});

/**
 * Widens `extents`, (3, columns) float32, by the rows of `values`: smallest, largest, Σ|x|.
 * @param laneSums (LANE_SUMS, columns) float32: what the sums go on from
 * @param seen rows that `extents` knows already; with 0, what both hold does not count
 */
export async function widenColumnExtents(
  gpu: Gpu,
  values: Activations,
  extents: BufferPart,
  laneSums: BufferPart,
  seen: number,
): Promise<void> {
  const { buffer, columns, stride, offset = 0 } = values;
  for (const { place, ...size } of columnStrips(gpu, columnExtentsKernel, values, seen)) {
    await gpu.queue.run(columnExtentsKernel, {
      params: { ...place, columns, stride, offset },
      buffers: { values: buffer, extents, lane_sums: laneSums },
      ...size,
    });
  }
}
