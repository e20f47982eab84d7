import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./xielu.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;

export const xieluKernel = kernel({
  name: "forward.xielu",
  code: [code],
  params: struct({ stride: "u32", columns: "u32", first: "u32", end: "u32" }),
  bindings: { alpha_p: "read", alpha_n: "read", beta: "read", eps: "read", x: "read_write" },
});

/** Parameters of xIELU, one value each, as checkpoints hold them. */
export interface XieluBuffers {
  readonly alphaP: BufferPart;
  readonly alphaN: BufferPart;
  readonly beta: BufferPart;
  readonly eps: BufferPart;
}

/** x = xIELU(x). x starts at its buffer's start; columns and stride are multiples of 4. */
export async function xielu(gpu: Gpu, parameters: XieluBuffers, x: Activations): Promise<void> {
  const { alphaP, alphaN, beta, eps } = parameters;
  const columns = x.columns / LANES;
  for (const { first, end } of gpu.queue.split(xieluKernel, x.rows * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(xieluKernel, {
      params: { stride: x.stride / LANES, columns, first, end },
      buffers: { alpha_p: alphaP, alpha_n: alphaN, beta, eps, x: x.buffer },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}
