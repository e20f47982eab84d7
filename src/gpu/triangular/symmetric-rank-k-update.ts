import type { MatrixUnits } from "../device/tuning.ts";
import type { Gpu } from "../gpu.ts";
import { matmul, type Matrix, matrixFrom } from "../matmul/matmul.ts";
import { type HeldPanel, heldPanels } from "../panels.ts";
import { findLargest, rankKHalves, rowsOnUnits } from "./rank-k-halves.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";

/**
 * Rows of X that one product takes: with more, a product takes longer than a submit should and is cut where tiles are
 * still at work, and the last tiles of each keep a GPU waiting for longer. Whole tiles of matrix units, which are powers of two.
 */
const DEPTH = 4096;

/** Rows of X that are added up for themselves. */
export interface RowRun {
  readonly first: number;
  readonly rows: number;
}

interface RankKOptions {
  readonly alpha: number;
  /**
   * All rows of X, cut where sums in float32 are to end; else one run. Matrix units take all at once: they scale what they are given
   * by its largest value, so that batches have a part in their results anyway.
   */
  readonly runs?: readonly RowRun[];
}

/**
 * H += alpha · Xᵀ X, lower triangle only (BLAS syrk). X is (rows, n) float32: one token a row. This is how GPTQ's Hessian
 * 2/N Σ x xᵀ grows (arXiv 2210.17323, section 3; LLM Compressor `accumulate_hessian`). On matrix units where the job has some
 * that do it.
 */
export async function symmetricRankKUpdate(
  gpu: Gpu,
  hessian: TriangularMatrix,
  x: Matrix & { readonly rows: number },
  { alpha, runs = [{ first: 0, rows: x.rows }] }: RankKOptions,
): Promise<void> {
  const { matrices } = gpu.tuning;
  const onUnits = matrices ? rowsOnUnits(matrices, hessian.layout.n, x.rows) : 0;
  if (!matrices || onUnits === 0) return await addInFloat32(gpu, hessian, x, { alpha, runs });
  for (const part of partsOf(x, { first: 0, rows: onUnits }))
    await addOnUnits(gpu, matrices, hessian, { ...part, alpha });
  const rest = { first: onUnits, rows: x.rows - onUnits };
  await addInFloat32(gpu, hessian, x, { alpha, runs: [rest] });
}

interface Rows {
  readonly x: Required<Matrix>;
  readonly rows: number;
}

type Update = Rows & Pick<RankKOptions, "alpha">;

/** The rows of a run as products take them. */
function partsOf(x: Matrix, { first, rows }: RowRun): Rows[] {
  return Array.from({ length: Math.ceil(rows / DEPTH) }, (_, index) => {
    const done = index * DEPTH;
    return { x: matrixFrom(x, first + done), rows: Math.min(DEPTH, rows - done) };
  });
}

async function addOnUnits(
  gpu: Gpu,
  units: MatrixUnits,
  hessian: TriangularMatrix,
  update: Update,
): Promise<void> {
  const slot = await findLargest(gpu, units, { ...update, columns: hessian.layout.n });
  for (const held of heldPanels(hessian)) await rankKHalves(gpu, units, { ...update, ...held, slot });
}

async function addInFloat32(
  gpu: Gpu,
  hessian: TriangularMatrix,
  x: Matrix,
  { alpha, runs }: Required<RankKOptions>,
): Promise<void> {
  for (const part of runs.flatMap((run) => partsOf(x, run)))
    for (const held of heldPanels(hessian)) await updatePanel(gpu, held, { ...part, alpha });
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
