import type { Gpu } from "../gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../kernel.ts";
import { struct } from "../struct.ts";
import code from "./widen.wgsl?raw";

const WORKGROUP = 64;

export const widenKernel = kernel({
  name: "gpu.widen",
  code: [code],
  params: struct({ count: "u32" }),
  bindings: { words: "read", values: "read_write" },
});

/** Writes `count` packed bfloat16 `words` as float32 `values`. */
export async function widenBf16(
  gpu: Pick<Gpu, "queue">,
  words: BufferPart,
  values: BufferPart,
  count: number,
): Promise<void> {
  await gpu.queue.run(widenKernel, {
    params: { count },
    buffers: { words, values },
    workgroups: spreadWorkgroups(Math.ceil(count / WORKGROUP)),
    work: count,
  });
}
