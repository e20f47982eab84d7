// The lower triangle of a symmetric or triangular matrix, in row panels: panel p holds its rows up to the end of its own
// diagonal block, row-major. For n = 28,672 that is 1.7 GB in buffers that every adapter allows, where the full square
// would be 3.3 GB in one that none does.

import type { GpuMemory, LedgerBuffer } from "../memory.ts";

/** Rows of a panel are a multiple of this, so that blocks of the factorisation never straddle panels. */
export const PANEL_MULTIPLE = 128;
/**
 * Lower panels save memory above the diagonal. Each is a product of its own, at whose end a large GPU runs out of tiles:
 * of an H200's 264 at once, panels of n / 8 rows leave 14 % idle at n = 14,336 and three quarters at 4,096; these 4 % and none.
 */
const PREFERRED_ROWS = 4096;

export interface Panel {
  readonly firstRow: number;
  readonly rows: number;
  /** Elements from row to row; columns 0 … firstRow + rows − 1 are stored. */
  readonly stride: number;
}

export interface TriangularLayout {
  readonly n: number;
  readonly panelRows: number;
  readonly panels: readonly Panel[];
  readonly bytes: number;
}

export interface TriangularMatrix extends Disposable {
  readonly layout: TriangularLayout;
  /** One buffer a panel, in order. */
  readonly buffers: readonly LedgerBuffer[];
}

/** Cuts an n × n triangle into panels of at most `maxPanelBytes` each. */
export function layOutTriangle(n: number, maxPanelBytes: number): TriangularLayout {
  const rowBytes = Math.ceil(n / 4) * 16;
  const preferred = Math.ceil(Math.min(n, PREFERRED_ROWS) / PANEL_MULTIPLE) * PANEL_MULTIPLE;
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

export function panelBytes({ rows, stride }: Panel): number {
  return rows * stride * 4;
}

/** Allocates the panels, all zero. */
export async function allocateTriangle(
  memory: GpuMemory,
  label: string,
  layout: TriangularLayout,
): Promise<TriangularMatrix> {
  const requests = layout.panels.map((panel, index) => ({
    label: `${label}, panel ${index + 1} of ${layout.panels.length}`,
    bytes: panelBytes(panel),
  }));
  const buffers: readonly LedgerBuffer[] = await memory.allocateAll(requests);
  return {
    layout,
    buffers,
    [Symbol.dispose]() {
      for (const buffer of buffers) buffer[Symbol.dispose]();
    },
  };
}
