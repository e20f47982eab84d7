// Rows times the inverse transpose of a lower triangular matrix, without the inverse: substitution in blocks, from left to
// right. All flops that count are in products of the matmul kernel.

import type { Gpu } from "../gpu.ts";
import { kernel } from "../kernel.ts";
import { matmul, type Matrix } from "../matmul/matmul.ts";
import { struct } from "../struct.ts";
import { type ColumnRange, columnSpans, panelAt } from "./lower-product.ts";
import code from "./solve-lower.wgsl?raw";
import type { TriangularMatrix } from "./triangular-matrix.ts";

/** Columns of a diagonal block; fixed in the kernel. */
const BLOCK = 32;
/** Columns from which all that is solved before them is subtracted at once: products wide enough to be fast. */
const WIDE = 8 * BLOCK;
const LANES = 64;

export const solveLowerKernel = kernel({
  name: "triangular.solve-lower",
  code: [code],
  params: struct({
    first_column: "u32",
    size: "u32",
    x_stride: "u32",
    x_offset: "u32",
    y_stride: "u32",
    y_offset: "u32",
    factor_row: "u32",
    factor_stride: "u32",
    first_row: "u32",
    end_row: "u32",
  }),
  bindings: { factor: "read", x: "read", y: "read_write" },
});

/** Both are (rows, n) float32, in two buffers; `x` is used up. */
export interface Solve {
  readonly rows: number;
  readonly x: Required<Matrix>;
  readonly y: Required<Matrix>;
}

/** y = x · L⁻ᵀ. What the panels of L store above the diagonal is not read. */
export async function solveLower(gpu: Gpu, lower: TriangularMatrix, solve: Solve): Promise<void> {
  for (const wide of columnSpans(lower, WIDE)) {
    await subtractSolved(gpu, lower, solve, { from: { first: 0, end: wide.first }, to: wide });
    for (let { first } = wide; first < wide.end; first += BLOCK) {
      const block = { first, end: Math.min(first + BLOCK, wide.end) };
      await subtractSolved(gpu, lower, solve, { from: { first: wide.first, end: first }, to: block });
      await solveBlock(gpu, lower, solve, block);
    }
  }
}

/** x[:, to] −= y[:, from] · L[to, from]ᵀ; `to` lies in one panel. */
async function subtractSolved(
  gpu: Gpu,
  lower: TriangularMatrix,
  { rows, x, y }: Solve,
  { from, to }: { readonly from: ColumnRange; readonly to: ColumnRange },
): Promise<void> {
  if (from.end === from.first) return;
  const { panel, buffer } = panelAt(lower, to.first);
  await matmul(gpu, {
    m: rows,
    n: to.end - to.first,
    k: from.end - from.first,
    a: { ...y, offset: y.offset + from.first },
    b: { buffer, stride: panel.stride, offset: (to.first - panel.firstRow) * panel.stride + from.first },
    c: { ...x, offset: x.offset + to.first },
    alpha: -1,
    accumulate: true,
  });
}

async function solveBlock(
  gpu: Gpu,
  lower: TriangularMatrix,
  { rows, x, y }: Solve,
  block: ColumnRange,
): Promise<void> {
  const { panel, buffer } = panelAt(lower, block.first);
  const size = block.end - block.first;
  const workEach = LANES * size * size;
  for (const { first, end } of gpu.queue.split(solveLowerKernel, Math.ceil(rows / LANES), workEach)) {
    await gpu.queue.run(solveLowerKernel, {
      params: {
        first_column: block.first,
        size,
        x_stride: x.stride,
        x_offset: x.offset,
        y_stride: y.stride,
        y_offset: y.offset,
        factor_row: block.first - panel.firstRow,
        factor_stride: panel.stride,
        first_row: first * LANES,
        end_row: Math.min(end * LANES, rows),
      },
      buffers: { factor: buffer, x: x.buffer, y: y.buffer },
      workgroups: [end - first],
      work: (end - first) * workEach,
    });
  }
}
