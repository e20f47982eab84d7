// Range, scale and zero point of every cell of a weight on the GPU: the observer `memoryless_minmax`.

import type { CellGrid } from "../../formats/compression-format.ts";
import type { FloatDtype } from "../../formats/dtype.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/quantization-args.ts";
import { DTYPE_CODE, DTYPE_EPSILON } from "../../gpu/dtype-code.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/number-formats.wgsl?raw";
import { struct } from "../../gpu/struct.ts";
import qparamsCode from "./qparams.wgsl?raw";
import rangeCode from "./range.wgsl?raw";

const WORKGROUP = 64;

export const rangeKernel = kernel({
  name: "observe.range",
  code: [numberFormats, rangeCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    dtype: "u32",
    cell_rows: "u32",
    cell_columns: "u32",
    cells_per_row: "u32",
    first_cell: "u32",
    end_cell: "u32",
  }),
  bindings: { weights: "read", ranges: "read_write", nonfinite: "read_write" },
});

export const qparamsKernel = kernel({
  name: "observe.qparams",
  code: [numberFormats, qparamsCode],
  params: struct({
    cells: "u32",
    dtype: "u32",
    symmetric: "u32",
    q_min: "f32",
    q_max: "f32",
    epsilon: "f32",
  }),
  bindings: { ranges: "read", scales: "read_write", zero_points: "read_write" },
});

/** A weight on the GPU, (rows, columns) row-major, in the bytes that it has in the file. */
export interface GpuWeight {
  readonly weights: BufferPart;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
}

/**
 * Writes the smallest and largest weight of each cell as two float32 into `ranges`, and counts NaN and Inf into
 * `nonfinite` (two u32, to be cleared by the caller; see range.wgsl).
 */
export async function observeRange(
  gpu: Gpu,
  weight: GpuWeight,
  grid: CellGrid,
  ranges: BufferPart,
  nonfinite: BufferPart,
): Promise<void> {
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  const work = grid.cellRows * grid.cellColumns;
  for (const { first, end } of gpu.queue.split(rangeKernel, cells, work)) {
    await gpu.queue.run(rangeKernel, {
      params: {
        rows: weight.rows,
        columns: weight.columns,
        dtype: DTYPE_CODE[weight.dtype],
        cell_rows: grid.cellRows,
        cell_columns: grid.cellColumns,
        cells_per_row: grid.cellsPerRow,
        first_cell: first,
        end_cell: end,
      },
      buffers: { weights: weight.weights, ranges, nonfinite },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * work,
    });
  }
}

/** Turns `ranges` into float32 `scales` (values of `dtype`) and int32 `zeroPoints`, one per cell. */
export async function computeQparams(
  gpu: Gpu,
  args: QuantizationArgs,
  dtype: FloatDtype,
  cells: number,
  buffers: { readonly ranges: BufferPart; readonly scales: BufferPart; readonly zero_points: BufferPart },
): Promise<void> {
  const [q_min, q_max] = quantizedRange(args);
  await gpu.queue.run(qparamsKernel, {
    params: {
      cells,
      dtype: DTYPE_CODE[dtype],
      symmetric: Number(args.symmetric),
      q_min,
      q_max,
      epsilon: DTYPE_EPSILON[dtype],
    },
    buffers,
    workgroups: spreadWorkgroups(Math.ceil(cells / WORKGROUP)),
    work: cells,
  });
}
