import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./scale.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;

export const scaleKernel = kernel({
  name: "forward.scale",
  code: [code],
  params: struct({ stride: "u32", columns: "u32", x: "u32", first: "u32", end: "u32" }),
  bindings: { factor: "read", x: "read_write" },
});

/** x = x · factor, whose buffer holds one float32; columns, stride and offset of x are multiples of 4. */
export async function scale(gpu: Gpu, x: Activations, factor: BufferPart): Promise<void> {
  const columns = x.columns / LANES;
  for (const { first, end } of gpu.queue.split(scaleKernel, x.rows * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(scaleKernel, {
      params: { stride: x.stride / LANES, columns, x: (x.offset ?? 0) / LANES, first, end },
      buffers: { factor, x: x.buffer },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}
