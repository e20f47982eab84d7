import type { Gpu } from "../gpu.ts";
import { matmul } from "../matmul/matmul.ts";
import { heldPanels } from "../panels.ts";
import { type CholeskyScratch, WIDE } from "./cholesky-scratch.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";

/** Columns of the strip, and what their outer product is multiplied by. */
export interface StripColumns {
  readonly column: number;
  readonly depth: number;
  readonly alpha: 1 | -1;
}

export const ALL_COLUMNS = { column: 0, depth: WIDE } as const;

/** A[i][j] += α Σ_t L[i][t] L[j][t] for the columns `to` and all rows i ≥ j, where t are columns `from` of the strip. */
export async function updateColumns(
  gpu: Gpu,
  matrix: TriangularMatrix,
  { strip }: Pick<CholeskyScratch, "strip">,
  from: StripColumns,
  to: { readonly first: number; readonly end: number },
): Promise<void> {
  if (to.first >= to.end) return;
  for (const { panel, buffer } of heldPanels(matrix)) {
    const firstRow = Math.max(to.first, panel.firstRow);
    const endRow = panel.firstRow + panel.rows;
    if (firstRow >= endRow) continue;
    await matmul(gpu, {
      m: endRow - firstRow,
      n: Math.min(to.end, endRow) - to.first,
      k: from.depth,
      a: { buffer: strip, stride: WIDE, offset: firstRow * WIDE + from.column },
      b: { buffer: strip, stride: WIDE, offset: to.first * WIDE + from.column },
      c: {
        buffer,
        stride: panel.stride,
        offset: (firstRow - panel.firstRow) * panel.stride + to.first,
      },
      alpha: from.alpha,
      accumulate: true,
      lowerAt: { row: firstRow, column: to.first },
    });
  }
}
