import { invariant } from "../../../errors.ts";
import type { Gpu } from "../../../gpu/gpu.ts";
import { kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { ActivationFunction, ClampedSwiglu } from "../../../model/decoder-description.ts";
import type { Activations } from "../layer-weights.ts";
import shader from "./activate.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;
/** As activate.wgsl names them. */
const ACTIVATION_CODE: Readonly<Record<ActivationFunction, number>> = {
  silu: 0,
  gelu: 1,
  gelu_tanh: 2,
  relu: 3,
  relu2: 4,
};
const CLAMPED_SWIGLU = 5;

export const activateKernel = kernel({
  name: "forward.activate",
  code: [shader],
  params: struct({
    stride: "u32",
    columns: "u32",
    up: "u32",
    first: "u32",
    end: "u32",
    alpha: "f32",
    limit: "f32",
  }),
  bindings: { x: "read_write" },
  constants: ["ACTIVATION", "GATED"],
});

/**
 * x = activation(x), or activation(x) · up with the values that lie `up` columns to the right; a clamped swiglu has its own
 * way with both. x starts at its buffer's start; columns, stride and `up` are multiples of 4.
 */
export async function activate(
  gpu: Gpu,
  activation: ActivationFunction | ClampedSwiglu,
  x: Activations,
  up: number | null,
): Promise<void> {
  const columns = x.columns / LANES;
  const clamped = typeof activation === "string" ? null : activation;
  invariant(!clamped || up !== null, "a clamped swiglu has a gate");
  const { alpha, limit } = clamped ?? { alpha: 0, limit: 0 };
  const code = typeof activation === "string" ? ACTIVATION_CODE[activation] : CLAMPED_SWIGLU;
  for (const { first, end } of gpu.queue.split(activateKernel, x.rows * columns, LANES, WORKGROUP)) {
    await gpu.queue.run(activateKernel, {
      params: { stride: x.stride / LANES, columns, up: (up ?? 0) / LANES, first, end, alpha, limit },
      buffers: { x: x.buffer },
      constants: { ACTIVATION: code, GATED: Number(up !== null) },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * LANES,
    });
  }
}
