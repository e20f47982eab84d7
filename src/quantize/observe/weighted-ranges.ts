// The observer `hessian_mse`, which is this program's own: the range of each cell whose rounding to nearest costs the layer
// least, as far as the diagonal of its input's Hessian tells: the least Σ_j H_jj (q_j − w_j)². LLM Compressor's
// `imatrix_mse` has the same weights but takes |q − w|³, and its search ends early.

import type { CellGrid } from "../../formats/schemes/compression-format.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { struct } from "../../gpu/struct.ts";
import { CODE_CONSTANTS, codeConstants } from "../encode/code-values.ts";
import codeValues from "../encode/code-values.wgsl?raw";
import cellQparamsCode from "./cell-qparams.wgsl?raw";
import { type GpuWeight, qparamsRule } from "./observe-weight.ts";
import { IMPORTANCE_DAMPING, RANGE_SHARES } from "./range-shares.ts";
import weightedRangesCode from "./weighted-ranges.wgsl?raw";

/** Division and roundings of one weight in one step, against one memory access of the plain range. */
const WORK_PER_STEP = 12;

/** Cells of a workgroup, each with an invocation a share: 60 of the 64 that GPUs schedule at once. */
const CELLS_EACH = 3;

export const weightedRangesKernel = kernel({
  name: "observe.weighted-ranges",
  code: [numberFormats, cellQparamsCode, codeValues, weightedRangesCode],
  constants: [...CODE_CONSTANTS, "STEPS", "CELLS_EACH"],
  params: struct({
    columns: "u32",
    dtype: "u32",
    cell_columns: "u32",
    cells_per_row: "u32",
    first_cell: "u32",
    end_cell: "u32",
    symmetric: "u32",
    scale_kind: "u32",
    q_min: "f32",
    q_max: "f32",
    epsilon: "f32",
    global_scale: "f32",
    first_share: "f32",
    share_step: "f32",
    damping: "f32",
  }),
  bindings: { weights: "read", importance: "read", ranges: "read_write" },
});

/** A weight whose `ranges` are observed, two float32 a cell; each cell lies in one row. */
export interface WeightedSearch {
  readonly weight: GpuWeight;
  readonly args: QuantizationArgs;
  readonly grid: CellGrid;
  /** One float32 a column of the weight; see importance.ts. */
  readonly importance: BufferPart;
  readonly ranges: BufferPart;
  /** NVFP4's scale of the whole tensor; 0 where there is none. */
  readonly globalScale: number;
}

/** Replaces the range of each cell by the share of it that quantizes the cell with the least weighted error. */
export async function searchWeightedRanges(gpu: Gpu, search: WeightedSearch): Promise<void> {
  const { weight, args, grid, importance, ranges } = search;
  const work = grid.cellColumns * RANGE_SHARES.steps * WORK_PER_STEP;
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  for (const { first, end } of gpu.queue.split(weightedRangesKernel, cells, work)) {
    await gpu.queue.run(weightedRangesKernel, {
      constants: { ...codeConstants(args), STEPS: RANGE_SHARES.steps, CELLS_EACH },
      params: {
        columns: weight.columns,
        cell_columns: grid.cellColumns,
        cells_per_row: grid.cellsPerRow,
        first_cell: first,
        end_cell: end,
        ...qparamsRule(args, weight.dtype),
        global_scale: search.globalScale,
        first_share: RANGE_SHARES.first,
        share_step: RANGE_SHARES.step,
        damping: IMPORTANCE_DAMPING,
      },
      buffers: { weights: weight.weights, importance, ranges },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / CELLS_EACH)),
      work: (end - first) * work,
    });
  }
}
