import type { Gpu } from "../gpu/gpu.ts";
import type { Kernel } from "../gpu/kernel.ts";
import type { Activations } from "./forward/layer-weights.ts";

/** Columns of a workgroup. */
const STRIP = 32;
/** Rows of one dispatch: float32 sums of more would lose what the last ones add. */
const ROWS_EACH = 4096;

/** A dispatch over some rows, by workgroups of 32 columns from strip `first_strip` on. */
export interface ColumnStrips {
  readonly place: { readonly first_row: number; readonly end_row: number; readonly first_strip: number };
  readonly workgroups: readonly [number];
  readonly work: number;
}

/** Cuts a reduction of each column of `values` over their rows into dispatches, the first rows first. */
export function* columnStrips(
  gpu: Gpu,
  kernel: Kernel,
  { rows, columns }: Pick<Activations, "rows" | "columns">,
): Generator<ColumnStrips> {
  for (let first_row = 0; first_row < rows; first_row += ROWS_EACH) {
    const end_row = Math.min(first_row + ROWS_EACH, rows);
    const workEach = (end_row - first_row) * STRIP;
    for (const { first, end } of gpu.queue.split(kernel, Math.ceil(columns / STRIP), workEach)) {
      const place = { first_row, end_row, first_strip: first };
      yield { place, workgroups: [end - first], work: (end - first) * workEach };
    }
  }
}
