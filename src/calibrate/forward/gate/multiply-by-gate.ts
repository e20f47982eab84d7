import type { Gpu } from "../../../gpu/gpu.ts";
import { kernel, spreadWorkgroups } from "../../../gpu/kernel.ts";
import { struct } from "../../../gpu/struct.ts";
import type { Activations } from "../layer-weights.ts";
import code from "./gate.wgsl?raw";

const WORKGROUP = 64;
const LANES = 4;

export const gateKernel = kernel({
  name: "forward.gate",
  code: [code],
  params: struct({ stride: "u32", columns: "u32", x: "u32", gate: "u32", first: "u32", end: "u32" }),
  bindings: { x: "read_write" },
  constants: ["SILU"],
});

/** x = x · f(gate) with the gate from column `gate` of the same rows on; all columns are multiples of 4. */
export async function multiplyByGate(
  gpu: Gpu,
  x: Activations,
  gate: number,
  f: "sigmoid" | "silu",
): Promise<void> {
  const columns = x.columns / LANES;
  for (const { first, end } of gpu.queue.split(gateKernel, x.rows * columns, 2 * LANES, WORKGROUP)) {
    await gpu.queue.run(gateKernel, {
      params: {
        stride: x.stride / LANES,
        columns,
        x: (x.offset ?? 0) / LANES,
        gate: gate / LANES,
        first,
        end,
      },
      buffers: { x: x.buffer },
      constants: { SILU: Number(f === "silu") },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * 2 * LANES,
    });
  }
}
