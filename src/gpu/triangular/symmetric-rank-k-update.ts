import type { Gpu } from "../gpu.ts";
import { matmul, type Matrix, matrixFrom } from "../matmul/matmul.ts";
import { type HeldPanel, heldPanels } from "../panels.ts";
import { findLargest, rankKHalves, rowsOnUnits } from "./rank-k-halves.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";

/**
 * Rows of X that one product takes: with more, a product takes longer than a submit should and is cut where tiles are
 * still at work, and the last tiles of each keep a GPU waiting for longer.
 */
const DEPTH = 4096;

/**
 * H += alpha · Xᵀ X, lower triangle only (BLAS syrk). X is (rows, n) float32: one token a row. This is how GPTQ's Hessian
 * 2/N Σ x xᵀ grows (arXiv 2210.17323, section 3; LLM Compressor `accumulate_hessian`). On matrix units where the job has some
 * that do it.
 */
export async function symmetricRankKUpdate(
  gpu: Gpu,
  hessian: TriangularMatrix,
  x: Matrix,
  rows: number,
  alpha: number,
): Promise<void> {
  for (let row = 0; row < rows; row += DEPTH) {
    await addRows(gpu, hessian, { x: matrixFrom(x, row), rows: Math.min(DEPTH, rows - row), alpha });
  }
}

interface Update {
  readonly x: Required<Matrix>;
  readonly rows: number;
  readonly alpha: number;
}

async function addRows(gpu: Gpu, hessian: TriangularMatrix, update: Update): Promise<void> {
  const { matrices } = gpu.tuning;
  const { n } = hessian.layout;
  const onUnits = matrices ? rowsOnUnits(matrices, n, update.rows) : 0;
  if (matrices && onUnits > 0) {
    const part = { ...update, rows: onUnits };
    const slot = await findLargest(gpu, matrices, { ...part, columns: n });
    for (const held of heldPanels(hessian)) await rankKHalves(gpu, matrices, { ...part, ...held, slot });
  }
  if (onUnits === update.rows) return;
  const { x } = update;
  const rest = { ...update, rows: update.rows - onUnits };
  for (const held of heldPanels(hessian))
    await updatePanel(gpu, held, { ...rest, x: matrixFrom(x, onUnits) });
}

async function updatePanel(
  gpu: Gpu,
  { panel, buffer }: HeldPanel,
  { x, rows, alpha }: Update,
): Promise<void> {
  await matmul(gpu, {
    m: panel.rows,
    n: panel.firstRow + panel.rows,
    k: rows,
    a: matrixFrom(x, 0, panel.firstRow),
    aTransposed: true,
    b: x,
    bTransposed: false,
    c: { buffer, stride: panel.stride },
    alpha,
    accumulate: true,
    lowerAt: { row: panel.firstRow, column: 0 },
  });
}
