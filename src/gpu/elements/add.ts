import code from "./add.wgsl?raw";
import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import { struct } from "../struct.ts";

const WORKGROUP = 64;

export const addKernel = kernel({
  name: "gpu.add",
  code: [code],
  params: struct({ first: "u32", end: "u32" }),
  bindings: { values: "read", sums: "read_write" },
});

/** sums[i] += values[i] for elements `first` to `end` - 1, float32. */
export async function add(
  gpu: Gpu,
  values: BufferPart,
  sums: BufferPart,
  range: { readonly first: number; readonly end: number },
): Promise<void> {
  for (const part of gpu.queue.split(addKernel, range.end - range.first, 1)) {
    const [first, end] = [range.first + part.first, range.first + part.end];
    await gpu.queue.run(addKernel, {
      params: { first, end },
      buffers: { values, sums },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}
