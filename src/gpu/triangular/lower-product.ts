// Products with a lower triangular matrix from the right, in spans of columns that each lie in one panel. What the panels store
// above the diagonal has to be zero.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../gpu.ts";
import { matmul, type Matrix } from "../matmul/matmul.ts";
import type { HeldPanel } from "../panels.ts";
import type { TriangularMatrix } from "./triangular-matrix.ts";

/** Narrower spans leave less of a product on the zeros above the diagonal; wider ones fill a large GPU. */
const SPAN = 512;

export interface ColumnRange {
  readonly first: number;
  readonly end: number;
}

/** (m, n) float32 times the triangle, added to (m, n) float32. */
export interface RightFactor {
  readonly m: number;
  readonly a: Matrix;
  readonly c: Matrix;
}

/** c += a · L. */
export async function addLowerProduct(
  gpu: Gpu,
  lower: TriangularMatrix,
  product: RightFactor,
): Promise<void> {
  for (const span of columnSpans(lower, SPAN)) {
    await addSpanProduct(gpu, lower, product, { from: span, to: { first: 0, end: span.end } });
  }
}

/** Floating-point operations of a row's product with a triangle of so many columns that lies in one panel: each span takes its zeros along. */
export function lowerProductWork(columns: number): number {
  let work = 0;
  for (let first = 0; first < columns; first += SPAN) {
    const end = Math.min(first + SPAN, columns);
    work += 2 * (end - first) * end;
  }
  return work;
}

/** Cuts the columns into spans that each lie in one panel. */
export function columnSpans({ layout }: TriangularMatrix, columns: number): ColumnRange[] {
  return layout.panels.flatMap(({ firstRow, rows }) => {
    const spans: ColumnRange[] = [];
    for (let first = firstRow; first < firstRow + rows; first += columns) {
      spans.push({ first, end: Math.min(first + columns, firstRow + rows) });
    }
    return spans;
  });
}

/** c[:, to] += a[:, from] · L[from, to]; `from` lies in one panel. */
export async function addSpanProduct(
  gpu: Gpu,
  lower: TriangularMatrix,
  { m, a, c }: RightFactor,
  { from, to }: { readonly from: ColumnRange; readonly to: ColumnRange },
): Promise<void> {
  if (to.end === to.first) return;
  const { panel, buffer } = panelAt(lower, from.first);
  await matmul(gpu, {
    m,
    n: to.end - to.first,
    k: from.end - from.first,
    a: { ...a, offset: (a.offset ?? 0) + from.first },
    b: { buffer, stride: panel.stride, offset: (from.first - panel.firstRow) * panel.stride + to.first },
    bTransposed: false,
    c: { ...c, offset: (c.offset ?? 0) + to.first },
    accumulate: true,
  });
}

/** The panel that holds a row. */
export function panelAt({ layout, buffers }: TriangularMatrix, row: number): HeldPanel {
  const index = layout.panels.findIndex((panel) => row < panel.firstRow + panel.rows);
  const [panel, buffer] = [layout.panels[index], buffers[index]];
  invariant(panel && buffer, `the matrix has a row ${row}`);
  return { panel, buffer };
}
