import type { Gpu } from "../gpu.ts";
import { kernel } from "../kernel.ts";
import { heldPanels } from "../panels.ts";
import { struct } from "../struct.ts";
import { BLOCK, type CholeskyScratch, WIDE } from "./cholesky-scratch.ts";
import liftCode from "./lift-columns.wgsl?raw";
import type { TriangularMatrix } from "./triangular-matrix.ts";
import { ALL_COLUMNS, updateColumns } from "./update-columns.ts";

export const liftColumnsKernel = kernel({
  name: "triangular.lift-columns",
  code: [liftCode],
  params: struct({
    first_column: "u32",
    end_column: "u32",
    stride: "u32",
    first_local_row: "u32",
    panel_first_row: "u32",
  }),
  bindings: { panel: "read_write", strip: "read_write" },
});

/**
 * Takes a factorisation back that failed in `failedRow`: the lower triangle is what it was, but for what float32 rounds in as
 * many sums as it took. The columns of L before the failed block are multiplied out again, the last ones first, onto what
 * is left of the matrix behind them; so nobody has to keep a copy in case a factorisation fails.
 */
export async function undoCholesky(
  gpu: Gpu,
  matrix: TriangularMatrix,
  scratch: Pick<CholeskyScratch, "strip">,
  failedRow: number,
): Promise<void> {
  const { n } = matrix.layout;
  const done = Math.floor(failedRow / BLOCK) * BLOCK;
  for (let end = done; end > 0;) {
    const first = Math.floor((end - 1) / WIDE) * WIDE;
    await liftColumns(gpu, matrix, scratch, { first, end });
    await updateColumns(gpu, matrix, scratch, { ...ALL_COLUMNS, alpha: 1 }, { first, end: n });
    end = first;
  }
  await gpu.queue.flush();
}

/** Moves columns of L into the strip, zero above the diagonal, and leaves zeros. */
async function liftColumns(
  gpu: Gpu,
  matrix: TriangularMatrix,
  { strip }: Pick<CholeskyScratch, "strip">,
  { first, end }: { readonly first: number; readonly end: number },
): Promise<void> {
  for (const { panel, buffer } of heldPanels(matrix)) {
    const start = Math.max(first - panel.firstRow, 0);
    if (start >= panel.rows) continue;
    await gpu.queue.run(liftColumnsKernel, {
      params: {
        first_column: first,
        end_column: end,
        stride: panel.stride,
        first_local_row: start,
        panel_first_row: panel.firstRow,
      },
      buffers: { panel: buffer, strip },
      workgroups: [panel.rows - start],
      work: (panel.rows - start) * WIDE,
    });
  }
}
