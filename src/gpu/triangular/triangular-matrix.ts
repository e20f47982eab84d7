// The lower triangle of a symmetric or triangular matrix, in row panels: panel p holds its rows up to the end of its own
// diagonal block, row-major. For n = 28,672 that is 1.7 GB in buffers that every adapter allows, where the full square
// would be 3.3 GB in one that none does.

import { type Panel, PANEL_MULTIPLE, panelBytes, type PanelLayout, type PanelMatrix } from "../panels.ts";

/**
 * Lower panels save memory above the diagonal. Each is a product of its own, at whose end a large GPU runs out of tiles:
 * of an H200's 264 at once, panels of n / 8 rows leave 14 % idle at n = 14,336 and three quarters at 4,096; even ones of about this size 4 % and none.
 */
const PREFERRED_ROWS = 3584;

export interface TriangularLayout extends PanelLayout {
  readonly panelRows: number;
}

export type TriangularMatrix = PanelMatrix<TriangularLayout>;

/** Cuts an n × n triangle into panels of at most `maxPanelBytes` each. */
export function layOutTriangle(n: number, maxPanelBytes: number): TriangularLayout {
  const rowBytes = Math.ceil(n / 4) * 16;
  const even = n / Math.max(Math.round(n / PREFERRED_ROWS), 1);
  const preferred = Math.ceil(even / PANEL_MULTIPLE) * PANEL_MULTIPLE;
  const allowed = Math.floor(maxPanelBytes / rowBytes / PANEL_MULTIPLE) * PANEL_MULTIPLE;
  const panelRows = Math.max(Math.min(preferred, allowed), PANEL_MULTIPLE);
  const panels: Panel[] = [];
  for (let firstRow = 0; firstRow < n; firstRow += panelRows) {
    const rows = Math.min(panelRows, n - firstRow);
    panels.push({ firstRow, rows, stride: Math.ceil((firstRow + rows) / 4) * 4 });
  }
  const bytes = panels.reduce((sum, panel) => sum + panelBytes(panel), 0);
  return { n, panelRows, panels, bytes };
}
