import code from "./add.wgsl?raw";
import type { Gpu } from "./gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "./kernel.ts";
import { struct } from "./struct.ts";

const WORKGROUP = 64;

export const addKernel = kernel({
  name: "gpu.add",
  code: [code],
  params: struct({ first: "u32", end: "u32" }),
  bindings: { values: "read", sums: "read_write" },
});

/** sums[i] += values[i] for the first `count` elements, float32. */
export async function add(gpu: Gpu, values: BufferPart, sums: BufferPart, count: number): Promise<void> {
  for (const { first, end } of gpu.queue.split(addKernel, count, 1)) {
    await gpu.queue.run(addKernel, {
      params: { first, end },
      buffers: { values, sums },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}
