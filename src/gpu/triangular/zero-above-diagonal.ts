import type { Gpu } from "../gpu.ts";
import { kernel } from "../kernel.ts";
import { heldPanels } from "../panels.ts";
import { struct } from "../struct.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";
import zeroAboveCode from "./zero-above.wgsl?raw";

const WORKGROUP = 64;

export const zeroAboveKernel = kernel({
  name: "triangular.zero-above",
  code: [zeroAboveCode],
  params: struct({ first_row: "u32", rows: "u32", stride: "u32" }),
  bindings: { panel: "read_write" },
});

/** Sets what panels store above the diagonal to zero. */
export async function zeroAboveDiagonal(gpu: Gpu, matrix: TriangularMatrix): Promise<void> {
  for (const { panel, buffer } of heldPanels(matrix)) {
    await gpu.queue.run(zeroAboveKernel, {
      params: { first_row: panel.firstRow, rows: panel.rows, stride: panel.stride },
      buffers: { panel: buffer },
      workgroups: [panel.rows, Math.ceil((panel.stride - panel.firstRow) / WORKGROUP)],
      work: panel.rows * panel.rows,
    });
  }
}
