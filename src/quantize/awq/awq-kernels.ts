import type { CellGrid } from "../../formats/schemes/compression-format.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { DTYPE_CODE } from "../../gpu/elements/dtype-code.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { sharingLanes } from "../../gpu/sharing-lanes.ts";
import { struct } from "../../gpu/struct.ts";
import { CODE_CONSTANTS, codeConstants } from "../encode/code-values.ts";
import codeValues from "../encode/code-values.wgsl?raw";
import cellQparams from "../observe/cell-qparams.wgsl?raw";
import { type GpuWeight, qparamsRule } from "../observe/observe-weight.ts";
import errorsCode from "./candidate-errors.wgsl?raw";
import extremesCode from "./candidate-extremes.wgsl?raw";
import sharesCode from "./column-shares.wgsl?raw";
import lossesCode from "./row-losses.wgsl?raw";

/** Columns of a workgroup in column-shares.wgsl, and lanes that have a sum of each. */
const STRIP = 32;
export const SHARE_LANES = 8;
/** Invocations that share a cell in candidate-errors.wgsl on a GPU. */
const CELL_LANES = 64;

export const candidateErrorsKernel = kernel({
  name: "awq.candidate-errors",
  code: [numberFormats, codeValues, cellQparams, errorsCode],
  constants: [...CODE_CONSTANTS, "WORKGROUP"],
  params: struct({
    rows: "u32",
    columns: "u32",
    cell_rows: "u32",
    cell_columns: "u32",
    cells_per_row: "u32",
    cells: "u32",
    dtype: "u32",
    symmetric: "u32",
    scale_kind: "u32",
    q_min: "f32",
    q_max: "f32",
    epsilon: "f32",
    error_stride: "u32",
    first_candidate: "u32",
    first_item: "u32",
    end_item: "u32",
    gives: "u32",
    weight_stride: "u32",
  }),
  bindings: { weights: "read", factors: "read", known: "read", errors: "read_write" },
});

export const candidateExtremesKernel = kernel({
  name: "awq.candidate-extremes",
  code: [numberFormats, extremesCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    dtype: "u32",
    first_candidate: "u32",
    first_item: "u32",
    end_item: "u32",
    first_extreme: "u32",
  }),
  bindings: { weights: "read", factors: "read", extremes: "read_write" },
});

export const columnSharesKernel = kernel({
  name: "awq.column-shares",
  code: [numberFormats, sharesCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    dtype: "u32",
    cell_rows: "u32",
    cell_columns: "u32",
    cells_per_row: "u32",
    first_strip: "u32",
    first_lane: "u32",
    fresh: "u32",
  }),
  bindings: { weights: "read", ranges: "read", sums: "read_write" },
});

export const rowLossesKernel = kernel({
  name: "awq.row-losses",
  code: [lossesCode],
  params: struct({ columns: "u32", stride: "u32", first_row: "u32", end_row: "u32", first_loss: "u32" }),
  bindings: { errors: "read", products: "read", diagonal: "read", losses: "read_write" },
});

/** What candidate-errors.wgsl is compiled with for weights that are rounded so. */
export function candidateErrorsConstants(gpu: Pick<Gpu, "adapter">, args: QuantizationArgs) {
  return { ...codeConstants(args), WORKGROUP: sharingLanes(gpu, CELL_LANES) };
}

/** Which of the candidates are at work: `count` of them from `first` on. */
export interface CandidateRange {
  readonly first: number;
  readonly count: number;
}

/** What is given for each candidate: what a weight loses, or what it then means. "all" is what it can lose. */
const GIVES = { errors: 0, all: 1, meaning: 2 } as const;

/**
 * errors[candidate, row] = W − Q(W · s) / s, (candidates, rows, stride) float32; see candidate-errors.wgsl. "all" gives W itself in
 * place of candidates, "meaning" gives Q(W · s) / s.
 * @param weight whose rows are `stride` elements apart, if not as many as there are columns
 */
export async function candidateErrors(
  gpu: Gpu,
  weight: GpuWeight & { readonly args: QuantizationArgs; readonly grid: CellGrid; readonly stride?: number },
  candidates: (CandidateRange & { readonly gives?: "meaning" }) | "all",
  buffers: { readonly factors: BufferPart; readonly known: BufferPart; readonly errors: BufferPart },
  error_stride: number,
): Promise<void> {
  const { weights, dtype, rows, columns, args, grid } = weight;
  const chosen = candidates === "all" ? { first: 0, count: 1, gives: candidates } : candidates;
  const { first: first_candidate, count, gives = "errors" } = chosen;
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  const workEach = grid.cellRows * grid.cellColumns;
  const constants = candidateErrorsConstants(gpu, args);
  for (const { first, end } of gpu.queue.split(candidateErrorsKernel, cells * count, workEach)) {
    await gpu.queue.run(candidateErrorsKernel, {
      constants,
      params: {
        rows,
        columns,
        cell_rows: grid.cellRows,
        cell_columns: grid.cellColumns,
        cells_per_row: grid.cellsPerRow,
        cells,
        ...qparamsRule(args, dtype),
        error_stride,
        first_candidate,
        first_item: first,
        end_item: end,
        gives: GIVES[gives],
        weight_stride: weight.stride ?? columns,
      },
      buffers: { weights, ...buffers },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * workEach,
    });
  }
}

/** extremes[first_extreme + (candidate, row)] = smallest and largest value of W · s, reaching to 0. */
export async function candidateExtremes(
  gpu: Gpu,
  { weights, dtype, rows, columns }: GpuWeight,
  { first: first_candidate, count }: CandidateRange,
  buffers: { readonly factors: BufferPart; readonly extremes: BufferPart },
  first_extreme: number,
): Promise<void> {
  for (const { first, end } of gpu.queue.split(candidateExtremesKernel, rows * count, columns)) {
    await gpu.queue.run(candidateExtremesKernel, {
      params: {
        rows,
        columns,
        dtype: DTYPE_CODE[dtype],
        first_candidate,
        first_item: first,
        end_item: end,
        first_extreme,
      },
      buffers: { weights, ...buffers },
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * columns,
    });
  }
}

/**
 * sums[lane, column] = Σ |w| / (max |w| of its cell + 1e-6) over every eighth of these rows, or += that; `ranges` as `observeRange`
 * gives them.
 * @param firstRow place of the first row in the weight; with 0, what `sums` holds does not count
 */
export async function columnShares(
  gpu: Gpu,
  { weights, dtype, rows, columns }: GpuWeight,
  grid: CellGrid,
  buffers: { readonly ranges: BufferPart; readonly sums: BufferPart },
  firstRow: number,
): Promise<void> {
  const strips = Math.ceil(columns / STRIP);
  for (const { first, end } of gpu.queue.split(columnSharesKernel, strips, rows * STRIP)) {
    await gpu.queue.run(columnSharesKernel, {
      params: {
        rows,
        columns,
        dtype: DTYPE_CODE[dtype],
        cell_rows: grid.cellRows,
        cell_columns: grid.cellColumns,
        cells_per_row: grid.cellsPerRow,
        first_strip: first,
        first_lane: firstRow % SHARE_LANES,
        fresh: Number(firstRow === 0),
      },
      buffers: { weights, ...buffers },
      workgroups: [end - first],
      work: (end - first) * rows * STRIP,
    });
  }
}

/** Rows of errors, and the place of the first one's loss. */
export interface LossRows {
  readonly rows: number;
  readonly columns: number;
  readonly stride: number;
  readonly first_loss: number;
}

/** losses[first_loss + row] = ½ e H eᵀ; `products` are the errors times the lower triangle of H. */
export async function rowLosses(
  gpu: Gpu,
  buffers: {
    readonly errors: BufferPart;
    readonly products: BufferPart;
    readonly diagonal: BufferPart;
    readonly losses: BufferPart;
  },
  shape: LossRows,
): Promise<void> {
  const { rows, ...params } = shape;
  for (const { first, end } of gpu.queue.split(rowLossesKernel, rows, params.columns)) {
    await gpu.queue.run(rowLossesKernel, {
      params: { ...params, first_row: first, end_row: end },
      buffers,
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * params.columns,
    });
  }
}
