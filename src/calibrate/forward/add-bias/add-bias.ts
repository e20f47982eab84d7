import type { Gpu } from "../../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { BiasPlace } from "../../../model/weight-description.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./add-bias.wgsl?raw";

const WORKGROUP = 64;

export const addBiasKernel = kernel({
  name: "forward.add-bias",
  code: [code],
  params: struct({
    columns: "u32",
    stride: "u32",
    offset: "u32",
    first: "u32",
    end: "u32",
    bias_first: "u32",
    bias_step: "u32",
    scale: "f32",
  }),
  bindings: { bias: "read", y: "read_write" },
});

/** y += scale · bias in every row; the bias's values from `first` on, `step` apart. */
export async function addBias(
  gpu: Gpu,
  y: Activations,
  bias: BufferPart,
  scale = 1,
  place: Pick<BiasPlace, "first" | "step"> = { first: 0, step: 1 },
): Promise<void> {
  const { rows, columns, stride, offset = 0 } = y;
  for (const { first, end } of gpu.queue.split(addBiasKernel, rows * columns, 1, WORKGROUP)) {
    await gpu.queue.run(addBiasKernel, {
      params: { columns, stride, offset, first, end, bias_first: place.first, bias_step: place.step, scale },
      buffers: { bias, y: y.buffer },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: end - first,
    });
  }
}
