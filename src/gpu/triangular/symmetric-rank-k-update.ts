import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { matmul, type Matrix } from "../matmul/matmul.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";

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
  const offset = x.offset ?? 0;
  for (const [index, panel] of hessian.layout.panels.entries()) {
    const buffer = hessian.buffers[index];
    invariant(buffer, "a buffer for each panel");
    await matmul(gpu, {
      m: panel.rows,
      n: panel.firstRow + panel.rows,
      k: rows,
      a: { ...x, offset: offset + panel.firstRow },
      aTransposed: true,
      b: x,
      bTransposed: false,
      c: { buffer, stride: panel.stride },
      alpha,
      accumulate: true,
      lowerAt: { row: panel.firstRow, column: 0 },
    });
  }
}
