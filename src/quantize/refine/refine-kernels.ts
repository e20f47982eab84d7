// The kernels of a refinement, each over one block of the walk's columns.

import { scaleStorage, type CellGrid } from "../../formats/schemes/compression-format.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { REFINE_BLOCK } from "../../formats/modifiers/gptq.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { DTYPE_CODE } from "../../gpu/elements/dtype-code.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { heldPanels } from "../../gpu/panels.ts";
import { struct } from "../../gpu/struct.ts";
import type { TriangularMatrix } from "../../gpu/triangular/triangular-matrix.ts";
import { CODE_CONSTANTS, codeConstants } from "../encode/code-values.ts";
import codeValues from "../encode/code-values.wgsl?raw";
import descendCode from "./descend-codes.wgsl?raw";
import fitCode from "./fit-scales.wgsl?raw";
import gatherCode from "./gather-factor.wgsl?raw";
import refinedWeights from "./refined-weights.wgsl?raw";

const ROWS = 8;
const WORKGROUP = 64;

const PARAMS = struct({
  rows: "u32",
  columns: "u32",
  dtype: "u32",
  scale_kind: "u32",
  cell_rows: "u32",
  cells_per_row: "u32",
  q_min: "f32",
  q_max: "f32",
  global_scale: "f32",
  first: "u32",
  width: "u32",
  group_size: "u32",
  stride: "u32",
  fitted: "u32",
  first_group: "u32",
});

export const descendKernel = kernel({
  name: "refine.descend-codes",
  code: [numberFormats, codeValues, refinedWeights, descendCode],
  constants: CODE_CONSTANTS,
  params: PARAMS,
  bindings: {
    columns: "read",
    gram: "read",
    gradient: "read",
    scales: "read",
    zero_points: "read",
    codes: "read_write",
    changes: "read_write",
  },
});

export const fitKernel = kernel({
  name: "refine.fit-scales",
  code: [numberFormats, codeValues, refinedWeights, fitCode],
  constants: CODE_CONSTANTS,
  params: PARAMS,
  bindings: {
    columns: "read",
    gram: "read",
    gradient: "read_write",
    codes: "read",
    zero_points: "read",
    scales: "read_write",
    changes: "read_write",
  },
});

export const gatherFactorKernel = kernel({
  name: "refine.gather-factor",
  code: [gatherCode],
  params: struct({
    panel_first_row: "u32",
    panel_rows: "u32",
    panel_stride: "u32",
    first: "u32",
    out_stride: "u32",
  }),
  bindings: { columns: "read", panel: "read", gathered: "read_write" },
});

/** Rows of a weight whose codes and scales are refined in place. */
export interface RefinedTile {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: FloatDtype;
  readonly args: QuantizationArgs;
  readonly grid: CellGrid;
  /** NVFP4's scale of the whole tensor; 0 where there is none. */
  readonly globalScale: number;
}

/** What is done to a block: "descend behind fit" goes on from the slopes and changes that a "fit" left. */
export type RefineStep = "fit" | "descend" | "descend behind fit";

/** A run of columns in the order of the walk. */
export interface RefinedBlock {
  readonly first: number;
  readonly width: number;
}

interface StepBuffers {
  /** Four u32 a column of the walk. */
  readonly columns: BufferPart;
  /** (width, 128) float32: the block's part of the Hessian. */
  readonly gram: BufferPart;
  /** (rows, 128) float32: slopes of each row's loss. */
  readonly gradient: BufferPart;
  readonly scales: BufferPart;
  readonly zero_points: BufferPart;
  readonly codes: BufferPart;
  /** (rows, 128) float32: how much each value becomes larger. */
  readonly changes: BufferPart;
}

/** Fits the block's scales (fit-scales.wgsl), or moves its codes (descend-codes.wgsl). */
export async function runStep(
  gpu: Gpu,
  step: RefineStep,
  tile: RefinedTile,
  block: RefinedBlock,
  buffers: StepBuffers,
): Promise<void> {
  const chosen = step === "fit" ? fitKernel : descendKernel;
  const workEach = ROWS * block.width * (block.width + 20);
  for (const { first, end } of gpu.queue.split(chosen, Math.ceil(tile.rows / ROWS), workEach)) {
    await gpu.queue.run(chosen, {
      constants: codeConstants(tile.args),
      params: {
        ...stepParams(tile, block),
        fitted: Number(step === "descend behind fit"),
        first_group: first,
      },
      buffers,
      workgroups: [end - first],
      work: (end - first) * workEach,
    });
  }
}

function stepParams({ rows, columns, dtype, args, grid, globalScale }: RefinedTile, block: RefinedBlock) {
  const [q_min, q_max] = quantizedRange(args);
  return {
    rows,
    columns,
    dtype: DTYPE_CODE[dtype],
    scale_kind: { dtype: 0, e4m3: 1, e8m0: 2 }[scaleStorage(args)],
    cell_rows: grid.cellRows,
    cells_per_row: grid.cellsPerRow,
    q_min,
    q_max,
    global_scale: globalScale,
    ...block,
    group_size: grid.cellColumns,
    stride: REFINE_BLOCK,
  };
}

/** Rows of the factor that the block's columns have, (width, stride) float32, zero after their diagonal. */
export async function gatherFactor(
  gpu: Gpu,
  factor: TriangularMatrix,
  block: RefinedBlock,
  buffers: { readonly columns: BufferPart; readonly gathered: BufferPart },
  stride: number,
): Promise<void> {
  for (const { panel, buffer } of heldPanels(factor)) {
    await gpu.queue.run(gatherFactorKernel, {
      params: {
        panel_first_row: panel.firstRow,
        panel_rows: panel.rows,
        panel_stride: panel.stride,
        first: block.first,
        out_stride: stride,
      },
      buffers: { ...buffers, panel: buffer },
      workgroups: [Math.ceil(stride / WORKGROUP), block.width],
      work: block.width * stride,
    });
  }
}
