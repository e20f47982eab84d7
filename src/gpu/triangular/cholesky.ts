// H = L Lᵀ in place, blocked and right-looking: factor a diagonal block, multiply the rows below by its inverse, subtract
// their outer product from what is left (Golub & Van Loan, Matrix Computations, algorithm 4.2.2 in blocks). All flops that
// count are in the subtraction, a product of the matmul kernel.

import type { Gpu } from "../gpu.ts";
import { kernel } from "../kernel.ts";
import { type HeldPanel, heldPanels } from "../panels.ts";
import type { ReadbackRing } from "../staging/readback-ring.ts";
import { struct } from "../struct.ts";
import columnCode from "./cholesky-column.wgsl?raw";
import diagonalCode from "./cholesky-diagonal.wgsl?raw";
import { BLOCK, type CholeskyScratch, WIDE } from "./cholesky-scratch.ts";
import { panelAt } from "./lower-product.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";
import { ALL_COLUMNS, updateColumns } from "./update-columns.ts";
import { zeroAboveDiagonal } from "./zero-above-diagonal.ts";

const COLUMN_ROWS = 16;

export const choleskyDiagonalKernel = kernel({
  name: "triangular.cholesky-diagonal",
  code: [diagonalCode],
  params: struct({ first_row: "u32", local_row: "u32", stride: "u32", size: "u32" }),
  bindings: { panel: "read_write", inverse_t: "read_write", failed_row: "read_write" },
});

export const choleskyColumnKernel = kernel({
  name: "triangular.cholesky-column",
  code: [columnCode],
  params: struct({
    first_column: "u32",
    size: "u32",
    stride: "u32",
    first_local_row: "u32",
    end_local_row: "u32",
    panel_first_row: "u32",
    strip_column: "u32",
    strip_stride: "u32",
  }),
  bindings: { panel: "read_write", inverse_t: "read", strip: "read_write", failed_row: "read" },
});

/**
 * Replaces the lower triangle of a symmetric matrix by its Cholesky factor, and what is stored above the diagonal by zero.
 * Resolves when all kernels are recorded; `failedRow` when the GPU is done with them: the first row whose pivot was not positive
 * (`undoCholesky` puts the matrix together again), or null if all went well. `scratch.failedRow` is in use until then.
 */
export async function cholesky(
  gpu: Gpu,
  matrix: TriangularMatrix,
  scratch: CholeskyScratch,
  readbacks: ReadbackRing,
): Promise<{ readonly failedRow: Promise<number | null> }> {
  await gpu.queue.clear(scratch.failedRow);
  const { n } = matrix.layout;
  const panels = heldPanels(matrix);
  for (let wide = 0; wide < n; wide += WIDE) {
    const end = Math.min(wide + WIDE, n);
    for (let first = wide; first < end; first += BLOCK) {
      const size = Math.min(BLOCK, end - first);
      const below = panels.filter(({ panel }) => first < panel.firstRow + panel.rows);
      const block = { first, size, stripColumn: first - wide };
      await factorDiagonal(gpu, panelAt(matrix, first), scratch, block);
      for (const held of below) await factorColumn(gpu, held, scratch, block);
      const from = { column: block.stripColumn, depth: BLOCK };
      await updateColumns(gpu, matrix, scratch, { ...from, alpha: -1 }, { first: first + size, end });
    }
    await updateColumns(gpu, matrix, scratch, { ...ALL_COLUMNS, alpha: -1 }, { first: end, end: n });
  }
  await zeroAboveDiagonal(gpu, matrix);
  const failedRow = readFailedRow(scratch, readbacks);
  // Until someone waits for it a failure must not count as unhandled.
  failedRow.catch(() => undefined);
  return { failedRow };
}

async function readFailedRow(scratch: CholeskyScratch, readbacks: ReadbackRing): Promise<number | null> {
  const status = new Uint32Array((await readbacks.readBytes(scratch.failedRow, 0, 4)).buffer);
  return status[0] ? status[0] - 1 : null;
}

/** A diagonal block: its place in the matrix, and its columns' place in the strip. */
interface Block {
  readonly first: number;
  readonly size: number;
  readonly stripColumn: number;
}

async function factorDiagonal(
  gpu: Gpu,
  { panel, buffer }: HeldPanel,
  scratch: CholeskyScratch,
  at: Block,
): Promise<void> {
  await gpu.queue.run(choleskyDiagonalKernel, {
    params: {
      first_row: at.first,
      local_row: at.first - panel.firstRow,
      stride: panel.stride,
      size: at.size,
    },
    buffers: {
      panel: buffer,
      inverse_t: scratch.inverse,
      failed_row: scratch.failedRow,
    },
    workgroups: [1],
    work: BLOCK ** 3,
  });
}

async function factorColumn(
  gpu: Gpu,
  { panel, buffer }: HeldPanel,
  scratch: CholeskyScratch,
  { first, size, stripColumn }: Block,
): Promise<void> {
  const start = Math.max(first + size - panel.firstRow, 0);
  const workEach = COLUMN_ROWS * BLOCK * BLOCK * 2;
  const groups = Math.ceil((panel.rows - start) / COLUMN_ROWS);
  for (const piece of gpu.queue.split(choleskyColumnKernel, groups, workEach)) {
    await gpu.queue.run(choleskyColumnKernel, {
      params: {
        first_column: first,
        size,
        stride: panel.stride,
        first_local_row: start + piece.first * COLUMN_ROWS,
        end_local_row: Math.min(start + piece.end * COLUMN_ROWS, panel.rows),
        panel_first_row: panel.firstRow,
        strip_column: stripColumn,
        strip_stride: WIDE,
      },
      buffers: {
        panel: buffer,
        inverse_t: scratch.inverse,
        strip: scratch.strip,
        failed_row: scratch.failedRow,
      },
      workgroups: [piece.end - piece.first],
      work: (piece.end - piece.first) * workEach,
    });
  }
}
