// H = L Lᵀ in place, blocked and right-looking: factor a diagonal block, multiply the rows below by its inverse, subtract
// their outer product from what is left (Golub & Van Loan, Matrix Computations, algorithm 4.2.2 in blocks). All flops that
// count are in the subtraction, a product of the matmul kernel.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { kernel } from "../kernel.ts";
import { matmul } from "../matmul/matmul.ts";
import type { LedgerBuffer } from "../memory.ts";
import type { Panel } from "../panels.ts";
import type { ReadbackRing } from "../staging/staging.ts";
import { struct } from "../struct.ts";
import columnCode from "./cholesky-column.wgsl?raw";
import diagonalCode from "./cholesky-diagonal.wgsl?raw";
import liftCode from "./lift-columns.wgsl?raw";
import type { TriangularMatrix } from "./triangular-matrix.ts";
import zeroAboveCode from "./zero-above.wgsl?raw";

/** Columns of one step; fixed in the kernels by what fits 16 KiB of workgroup memory. */
export const BLOCK = 64;
/**
 * Columns whose outer product is subtracted from all that follows at once: what follows is read and written a quarter as
 * often as with one block, and the product is deep enough to be as fast as others.
 */
const WIDE = 4 * BLOCK;
const COLUMN_ROWS = 16;
const WORKGROUP = 64;

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

export const zeroAboveKernel = kernel({
  name: "triangular.zero-above",
  code: [zeroAboveCode],
  params: struct({ first_row: "u32", rows: "u32", stride: "u32" }),
  bindings: { panel: "read_write" },
});

/** Scratch of a factorisation of order n. */
export interface CholeskyScratch extends Disposable {
  readonly inverse: LedgerBuffer;
  /** (n, WIDE): the current columns of L. */
  readonly strip: LedgerBuffer;
  readonly failedRow: LedgerBuffer;
}

/** GPU bytes of the scratch for order n. */
export function choleskyScratchBytes(n: number): number {
  return BLOCK * BLOCK * 4 + n * WIDE * 4 + 16;
}

export async function allocateCholeskyScratch(gpu: Gpu, n: number): Promise<CholeskyScratch> {
  const [inverse, strip, failedRow] = await gpu.memory.allocateAll([
    { label: "Cholesky block inverse", bytes: BLOCK * BLOCK * 4 },
    { label: "Cholesky column", bytes: n * WIDE * 4 },
    { label: "Cholesky status", bytes: 16 },
  ]);
  return {
    inverse,
    strip,
    failedRow,
    [Symbol.dispose]() {
      inverse[Symbol.dispose]();
      strip[Symbol.dispose]();
      failedRow[Symbol.dispose]();
    },
  };
}

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
  const { n, panels } = matrix.layout;
  for (let wide = 0; wide < n; wide += WIDE) {
    const end = Math.min(wide + WIDE, n);
    for (let first = wide; first < end; first += BLOCK) {
      const size = Math.min(BLOCK, end - first);
      const own = panels.findIndex((panel) => first < panel.firstRow + panel.rows);
      const block = { own, first, size, stripColumn: first - wide };
      await factorDiagonal(gpu, matrix, scratch, block);
      for (let index = own; index < panels.length; index++) {
        await factorColumn(gpu, matrix, scratch, index, block);
      }
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

/** Columns of the strip, and what their outer product is multiplied by. */
interface StripColumns {
  readonly column: number;
  readonly depth: number;
  readonly alpha: 1 | -1;
}

const ALL_COLUMNS = { column: 0, depth: WIDE } as const;

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
  for (const [index, panel] of matrix.layout.panels.entries()) {
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
      buffers: { panel: bufferOf(matrix, index), strip },
      workgroups: [panel.rows - start],
      work: (panel.rows - start) * WIDE,
    });
  }
}

/** A diagonal block: its panel, its place in the matrix, and its columns' place in the strip. */
interface Block {
  readonly own: number;
  readonly first: number;
  readonly size: number;
  readonly stripColumn: number;
}

async function factorDiagonal(
  gpu: Gpu,
  matrix: TriangularMatrix,
  scratch: CholeskyScratch,
  at: Block,
): Promise<void> {
  const panel = panelOf(matrix, at.own);
  await gpu.queue.run(choleskyDiagonalKernel, {
    params: {
      first_row: at.first,
      local_row: at.first - panel.firstRow,
      stride: panel.stride,
      size: at.size,
    },
    buffers: {
      panel: bufferOf(matrix, at.own),
      inverse_t: scratch.inverse,
      failed_row: scratch.failedRow,
    },
    workgroups: [1],
    work: BLOCK ** 3,
  });
}

async function factorColumn(
  gpu: Gpu,
  matrix: TriangularMatrix,
  scratch: CholeskyScratch,
  index: number,
  { first, size, stripColumn }: Block,
): Promise<void> {
  const panel = panelOf(matrix, index);
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
        panel: bufferOf(matrix, index),
        inverse_t: scratch.inverse,
        strip: scratch.strip,
        failed_row: scratch.failedRow,
      },
      workgroups: [piece.end - piece.first],
      work: (piece.end - piece.first) * workEach,
    });
  }
}

/** A[i][j] += α Σ_t L[i][t] L[j][t] for the columns `to` and all rows i ≥ j, where t are columns `from` of the strip. */
async function updateColumns(
  gpu: Gpu,
  matrix: TriangularMatrix,
  { strip }: Pick<CholeskyScratch, "strip">,
  from: StripColumns,
  to: { readonly first: number; readonly end: number },
): Promise<void> {
  if (to.first >= to.end) return;
  for (const [index, panel] of matrix.layout.panels.entries()) {
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
        buffer: bufferOf(matrix, index),
        stride: panel.stride,
        offset: (firstRow - panel.firstRow) * panel.stride + to.first,
      },
      alpha: from.alpha,
      accumulate: true,
      lowerAt: { row: firstRow, column: to.first },
    });
  }
}

/** Sets what panels store above the diagonal to zero. */
export async function zeroAboveDiagonal(gpu: Gpu, matrix: TriangularMatrix): Promise<void> {
  for (const [index, panel] of matrix.layout.panels.entries()) {
    await gpu.queue.run(zeroAboveKernel, {
      params: { first_row: panel.firstRow, rows: panel.rows, stride: panel.stride },
      buffers: { panel: bufferOf(matrix, index) },
      workgroups: [panel.rows, Math.ceil((panel.stride - panel.firstRow) / WORKGROUP)],
      work: panel.rows * panel.rows,
    });
  }
}

function panelOf(matrix: TriangularMatrix, index: number): Panel {
  const panel = matrix.layout.panels[index];
  invariant(panel, "the panel exists");
  return panel;
}

function bufferOf(matrix: TriangularMatrix, index: number): LedgerBuffer {
  const buffer = matrix.buffers[index];
  invariant(buffer, "a buffer for each panel");
  return buffer;
}
