// A square matrix without symmetry in row panels: its square may be more than one buffer holds.

import type { Gpu } from "./gpu.ts";
import { matmul, type Matrix } from "./matmul/matmul.ts";
import { heldPanels, PANEL_MULTIPLE, panelBytes, type PanelLayout, type PanelMatrix } from "./panels.ts";

/** Rows that one product takes; see symmetric-rank-k-update.ts. */
const DEPTH = 4096;

export type SquareMatrix = PanelMatrix<PanelLayout>;

/** Cuts n × n float32 into panels of at most `maxPanelBytes` each. */
export function layOutSquare(n: number, maxPanelBytes: number): PanelLayout {
  const stride = Math.ceil(n / 4) * 4;
  const allowed = Math.floor(maxPanelBytes / (stride * 4) / PANEL_MULTIPLE) * PANEL_MULTIPLE;
  const panelRows = Math.max(Math.min(n, allowed), PANEL_MULTIPLE);
  const panels = Array.from({ length: Math.ceil(n / panelRows) }, (_, index) => {
    const firstRow = index * panelRows;
    return { firstRow, rows: Math.min(panelRows, n - firstRow), stride };
  });
  return { n, panels, bytes: panels.reduce((sum, panel) => sum + panelBytes(panel), 0) };
}

/** D += alpha · AᵀB; A and B are (rows, n) float32. */
export async function addOuterProduct(
  gpu: Gpu,
  square: SquareMatrix,
  { a, b, rows }: { readonly a: Matrix; readonly b: Matrix; readonly rows: number },
  alpha: number,
): Promise<void> {
  const from = (matrix: Matrix, row: number, column = 0) => ({
    ...matrix,
    offset: (matrix.offset ?? 0) + row * matrix.stride + column,
  });
  for (let row = 0; row < rows; row += DEPTH) {
    for (const { panel, buffer } of heldPanels(square)) {
      await matmul(gpu, {
        m: panel.rows,
        n: square.layout.n,
        k: Math.min(DEPTH, rows - row),
        a: from(a, row, panel.firstRow),
        aTransposed: true,
        b: from(b, row),
        bTransposed: false,
        c: { buffer, stride: panel.stride },
        alpha,
        accumulate: true,
      });
    }
  }
}

/** c += alpha · a · D; a and c are (m, n) float32. */
export async function addSquareProduct(
  gpu: Gpu,
  square: SquareMatrix,
  { m, a, c }: { readonly m: number; readonly a: Matrix; readonly c: Matrix },
  alpha: number,
): Promise<void> {
  for (const { panel, buffer } of heldPanels(square)) {
    await matmul(gpu, {
      m,
      n: square.layout.n,
      k: panel.rows,
      a: { ...a, offset: (a.offset ?? 0) + panel.firstRow },
      b: { buffer, stride: panel.stride },
      bTransposed: false,
      c,
      alpha,
      accumulate: true,
    });
  }
}
