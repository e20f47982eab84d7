import type { Gpu } from "../gpu/gpu.ts";
import type { Kernel } from "../gpu/kernel.ts";
import type { Activations } from "./forward/layer-weights.ts";

/** What kernels are told that go through columns as column-strips.wgsl has it. */
export const STRIP_FIELDS = {
  first_row: "u32",
  end_row: "u32",
  columns: "u32",
  stride: "u32",
  offset: "u32",
  first_strip: "u32",
  first_lane: "u32",
  fresh: "u32",
  ends: "u32",
} as const;

/** Columns of a workgroup. */
const STRIP = 32;
/** Each of these adds up every eighth row of a column, as in the kernels. */
const LANES = 8;
/** Rows whose sum is made before it is added to those before: float32 sums of more would lose what the last ones add. */
const BLOCK_ROWS = 4096;

/** Float32 numbers a column that a sum goes on from: what each lane has of its block, and the sum of all blocks before. */
export const LANE_SUMS = LANES + 1;

/** A dispatch over some rows, by workgroups of 32 columns from strip `first_strip` on. */
export interface ColumnStrips {
  readonly place: {
    readonly first_row: number;
    readonly end_row: number;
    readonly first_strip: number;
    /** The lane of the first row. */
    readonly first_lane: number;
    /** 1 before any row was seen. */
    readonly fresh: number;
    /** 1 if a block ends with the last row. */
    readonly ends: number;
  };
  readonly workgroups: readonly [number];
  readonly work: number;
}

/**
 * Cuts a reduction of each column of `values` over their rows into dispatches, the first rows first. Which lane a row belongs to,
 * and where blocks end, is told by how many rows came before, so that sums do not depend on how rows are cut into inputs.
 * @param seen rows that came before
 */
export function* columnStrips(
  gpu: Gpu,
  kernel: Kernel,
  { rows, columns }: Pick<Activations, "rows" | "columns">,
  seen: number,
): Generator<ColumnStrips> {
  for (let first_row = 0; first_row < rows;) {
    const before = seen + first_row;
    const left = BLOCK_ROWS - (before % BLOCK_ROWS);
    const end_row = Math.min(first_row + left, rows);
    const ends = Number(end_row - first_row === left);
    const rowsEach = { first_row, end_row, first_lane: before % LANES, fresh: Number(before === 0), ends };
    const workEach = (end_row - first_row) * STRIP;
    for (const { first, end } of gpu.queue.split(kernel, Math.ceil(columns / STRIP), workEach)) {
      const place = { ...rowsEach, first_strip: first };
      yield { place, workgroups: [end - first], work: (end - first) * workEach };
    }
    first_row = end_row;
  }
}
