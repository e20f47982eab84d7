// A weight's grid of cells as kernels take it: the same three fields of each params struct.

import type { CellGrid } from "../formats/schemes/compression-format.ts";

export const GRID_FIELDS = { cell_rows: "u32", cell_columns: "u32", cells_per_row: "u32" } as const;

/** Rows and columns of a cell, and cells beside each other. */
export function gridParams({ cellRows, cellColumns, cellsPerRow }: CellGrid) {
  return { cell_rows: cellRows, cell_columns: cellColumns, cells_per_row: cellsPerRow };
}
