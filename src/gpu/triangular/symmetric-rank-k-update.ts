import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { matmul, type Matrix } from "../matmul/matmul.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";

/**
 * Rows of X that one product takes: with more, a product takes longer than a submit should and is cut where tiles are
 * still at work, and the last tiles of each keep a GPU waiting for longer.
 */
const DEPTH = 4096;

/**
 * H += alpha · Xᵀ X, lower triangle only (BLAS syrk). X is (rows, n) float32: one token a row. This is how GPTQ's Hessian
 * 2/N Σ x xᵀ grows (arXiv 2210.17323, section 3; LLM Compressor `accumulate_hessian`).
 */
export async function symmetricRankKUpdate(
  gpu: Gpu,
  hessian: TriangularMatrix,
  x: Matrix,
  rows: number,
  alpha: number,
): Promise<void> {
  for (let row = 0; row < rows; row += DEPTH) {
    const part = { ...x, offset: (x.offset ?? 0) + row * x.stride };
    for (let index = 0; index < hessian.buffers.length; index++) {
      await updatePanel(gpu, hessian, index, { x: part, rows: Math.min(DEPTH, rows - row), alpha });
    }
  }
}

async function updatePanel(
  gpu: Gpu,
  { layout, buffers }: TriangularMatrix,
  index: number,
  { x, rows, alpha }: { readonly x: Required<Matrix>; readonly rows: number; readonly alpha: number },
): Promise<void> {
  const [panel, buffer] = [layout.panels[index], buffers[index]];
  invariant(panel && buffer, "a buffer for each panel");
  await matmul(gpu, {
    m: panel.rows,
    n: panel.firstRow + panel.rows,
    k: rows,
    a: { ...x, offset: x.offset + panel.firstRow },
    aTransposed: true,
    b: x,
    bTransposed: false,
    c: { buffer, stride: panel.stride },
    alpha,
    accumulate: true,
    lowerAt: { row: panel.firstRow, column: 0 },
  });
}
