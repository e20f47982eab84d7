// Range, scale and zero point of every cell of a weight on the GPU: the observer `memoryless_minmax`.

import { type CellGrid, scaleStorage } from "../../formats/schemes/compression-format.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { DTYPE_CODE, DTYPE_EPSILON } from "../../gpu/elements/dtype-code.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { struct } from "../../gpu/struct.ts";
import cellQparamsCode from "./cell-qparams.wgsl?raw";
import extremesCode from "./extremes.wgsl?raw";
import qparamsCode from "./qparams.wgsl?raw";
import rangeCode from "./range.wgsl?raw";
import { GRID_FIELDS, gridParams } from "../grid-params.ts";

const WORKGROUP = 64;
const EXTREMES_CELLS_EACH = 16;

export const rangeKernel = kernel({
  name: "observe.range",
  code: [numberFormats, rangeCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    dtype: "u32",
    ...GRID_FIELDS,
    first_cell: "u32",
    end_cell: "u32",
    lanes: "u32",
  }),
  bindings: { weights: "read", ranges: "read_write", nonfinite: "read_write" },
});

export const extremesKernel = kernel({
  name: "observe.extremes",
  code: [extremesCode],
  params: struct({ cells: "u32" }),
  bindings: { ranges: "read", statistics: "read_write" },
});

export const qparamsKernel = kernel({
  name: "observe.qparams",
  code: [numberFormats, cellQparamsCode, qparamsCode],
  params: struct({
    cells: "u32",
    q_min: "f32",
    q_max: "f32",
    epsilon: "f32",
    global_scale: "f32",
    range_given: "u32",
    low: "f32",
    high: "f32",
  }),
  bindings: { ranges: "read", scales: "read_write", zero_points: "read_write" },
  constants: ["DTYPE", "SYMMETRIC", "SCALE_KIND"],
});

/** A weight on the GPU, (rows, columns) row-major, in the bytes that it has in the file. */
export interface GpuWeight {
  readonly weights: BufferPart;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
}

/** What is known of the whole weight before a tile of it is quantized. */
export interface TensorStatistics {
  /** The range that the whole tensor shares (strategy "tensor"), or null. */
  readonly range: readonly [number, number] | null;
  /** NVFP4's global scale, or null. */
  readonly globalScale: number | null;
}

export const NO_STATISTICS: TensorStatistics = { range: null, globalScale: null };

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
  const lanes = lanesFor(grid);
  const work = grid.cellRows * grid.cellColumns;
  for (const { first, end } of gpu.queue.split(rangeKernel, cells, work)) {
    await gpu.queue.run(rangeKernel, {
      params: {
        rows: weight.rows,
        columns: weight.columns,
        dtype: DTYPE_CODE[weight.dtype],
        ...gridParams(grid),
        first_cell: first,
        end_cell: end,
        lanes,
      },
      buffers: { weights: weight.weights, ranges, nonfinite },
      workgroups: spreadWorkgroups(Math.ceil(((end - first) * lanes) / WORKGROUP)),
      work: (end - first) * work,
    });
  }
}

/** Invocations that share a cell, a power of two: those of small groups (NVFP4 has 16 weights) would be idle otherwise. */
export function lanesFor({ cellRows, cellColumns }: CellGrid): number {
  return Math.min(2 ** Math.ceil(Math.log2(cellRows * cellColumns)), WORKGROUP);
}

/** Raises the magnitudes in words 2 and 3 of `statistics` to those of the smallest and largest weight of all cells. */
export async function observeExtremes(
  gpu: Gpu,
  ranges: BufferPart,
  cells: number,
  statistics: BufferPart,
): Promise<void> {
  await gpu.queue.run(extremesKernel, {
    params: { cells },
    buffers: { ranges, statistics },
    workgroups: spreadWorkgroups(Math.ceil(cells / EXTREMES_CELLS_EACH / WORKGROUP)),
    work: cells,
  });
}

/** Turns `ranges` into float32 `scales` (values of their stored dtype) and int32 `zeroPoints`, one per cell. */
export async function computeQparams(
  gpu: Gpu,
  args: QuantizationArgs,
  dtype: FloatDtype,
  cells: number,
  buffers: {
    readonly ranges: BufferPart;
    readonly scales: BufferPart;
    readonly zero_points: BufferPart;
    readonly known?: TensorStatistics;
  },
): Promise<void> {
  const { known = NO_STATISTICS, ...bound } = buffers;
  const [low, high] = known.range ?? [0, 0];
  const { q_min, q_max, epsilon } = qparamsRule(args, dtype);
  await gpu.queue.run(qparamsKernel, {
    constants: qparamsConstants(args, dtype),
    params: {
      cells,
      q_min,
      q_max,
      epsilon,
      global_scale: known.globalScale ?? 0,
      range_given: Number(known.range !== null),
      low,
      high,
    },
    buffers: bound,
    workgroups: spreadWorkgroups(Math.ceil(cells / WORKGROUP)),
    work: cells,
  });
}

const SCALE_KIND = { dtype: 0, e4m3: 1, e8m0: 2 } as const;
/** What compressed-tensors puts for a zero scale of float8 (`_get_dtype_eps`). */
const E4M3_EPSILON = 0.125;

/** What is compiled into the kernel that computes scales and zero points. */
export function qparamsConstants(args: QuantizationArgs, dtype: FloatDtype) {
  const { dtype: code, symmetric, scale_kind } = qparamsRule(args, dtype);
  return { DTYPE: code, SYMMETRIC: symmetric, SCALE_KIND: scale_kind };
}

/** The arguments as cell-qparams.wgsl takes them. */
export function qparamsRule(args: QuantizationArgs, dtype: FloatDtype) {
  const [q_min, q_max] = quantizedRange(args);
  const scales = scaleStorage(args);
  return {
    dtype: DTYPE_CODE[dtype],
    symmetric: Number(args.symmetric),
    scale_kind: SCALE_KIND[scales],
    q_min,
    q_max,
    epsilon: scales === "e4m3" ? E4M3_EPSILON : DTYPE_EPSILON[dtype],
  };
}
