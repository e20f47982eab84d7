// The observers `memoryless_mse` and `imatrix_mse` on the GPU: for each cell, the shrunken range that quantizes with the
// least error.

import type { CellGrid } from "../../formats/schemes/compression-format.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { DTYPE_CODE } from "../../gpu/elements/dtype-code.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { struct } from "../../gpu/struct.ts";
import cellQparamsCode from "./cell-qparams.wgsl?raw";
import mseStepCode from "./mse-step.wgsl?raw";
import { type MseSettings, shrinkOf } from "./mse-settings.ts";
import { type GpuWeight, lanesFor, qparamsRule } from "./observe-weight.ts";
import scaleRangesCode from "./scale-ranges.wgsl?raw";
import sumErrorsCode from "./sum-errors.wgsl?raw";
import { GRID_FIELDS, gridParams } from "../grid-params.ts";

const WORKGROUP = 64;
/** What the kernel takes for a dtype that it is told with its params; see mse-step.wgsl. */
const DTYPE_OPEN = 3;
/** `torch.finfo(dtype).max`: the error that the first step has to beat. */
const LARGEST: Readonly<Record<FloatDtype, number>> = {
  BF16: 2 ** 127 * (2 - 2 ** -7),
  F16: 65_504,
  F32: 2 ** 127 * (2 - 2 ** -23),
};
/** A weight's division, rounding and table look-up against one memory access of the plain range. */
const WORK_PER_WEIGHT = 16;

export const mseStepKernel = kernel({
  name: "observe.mse-step",
  code: [numberFormats, cellQparamsCode, mseStepCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    dtype: "u32",
    ...GRID_FIELDS,
    first_cell: "u32",
    end_cell: "u32",
    lanes: "u32",
    q_min: "f32",
    q_max: "f32",
    epsilon: "f32",
    step: "u32",
    shrink: "f32",
    norm: "f32",
    largest: "f32",
    range_given: "u32",
    low: "f32",
    high: "f32",
  }),
  bindings: {
    weights: "read",
    ranges: "read",
    powers: "read",
    importance: "read",
    best: "read_write",
    statistics: "read_write",
  },
  constants: ["DTYPE", "KIND", "SYMMETRIC", "SCALE_KIND", "WEIGHTED"],
});

export const scaleRangesKernel = kernel({
  name: "observe.scale-ranges",
  code: [numberFormats, scaleRangesCode],
  params: struct({ cells: "u32", dtype: "u32", use_best: "u32", factor: "f32" }),
  bindings: { ranges: "read_write", best: "read" },
});

export const sumErrorsKernel = kernel({
  name: "observe.sum-errors",
  code: [sumErrorsCode],
  params: struct({ cells: "u32", step: "u32" }),
  bindings: { best: "read", statistics: "read_write" },
});

/** A weight whose `ranges` are observed, and what the search needs beside them. */
export interface MseSearch {
  readonly weight: GpuWeight;
  readonly args: QuantizationArgs;
  readonly grid: CellGrid;
  readonly settings: MseSettings;
  readonly ranges: BufferPart;
  /** Two float32 a cell. */
  readonly best: BufferPart;
  /** From step i on, word 4 + i says whether the step improved any cell, or holds the step's error. */
  readonly statistics: BufferPart;
  /** Table of powers; null for float32 weights and for `imatrix_mse`. */
  readonly powers: BufferPart | null;
  /** One float32 a column, for `imatrix_mse`; see importance.ts. */
  readonly importance: BufferPart;
}

/** Replaces each cell's range by the best of the first `steps` steps. */
export async function searchMse(gpu: Gpu, search: MseSearch, steps: number): Promise<void> {
  const cells = search.grid.cellsPerColumn * search.grid.cellsPerRow;
  await expandRanges(gpu, search);
  for (let step = 0; step < steps; step++) await runStep(gpu, search, step, null);
  await scaleRanges(gpu, search, cells, { use_best: 1, factor: 1 });
}

/** Writes the error that each step's share of `range` has over all cells into `statistics`. */
export async function measureMse(
  gpu: Gpu,
  search: MseSearch,
  range: readonly [number, number],
): Promise<void> {
  const cells = search.grid.cellsPerColumn * search.grid.cellsPerRow;
  for (let step = 0; step < search.settings.steps; step++) {
    await runStep(gpu, search, step, range);
    await gpu.queue.run(sumErrorsKernel, {
      params: { cells, step },
      buffers: { best: search.best, statistics: search.statistics },
      workgroups: [1],
      work: cells,
    });
  }
}

/** The range that the search starts from: `expand` times what was observed. */
async function expandRanges(gpu: Gpu, search: MseSearch): Promise<void> {
  const { expand } = search.settings;
  if (expand === 1) return;
  const cells = search.grid.cellsPerColumn * search.grid.cellsPerRow;
  await scaleRanges(gpu, search, cells, { use_best: 0, factor: Math.fround(expand) });
}

async function scaleRanges(
  gpu: Gpu,
  search: MseSearch,
  cells: number,
  by: { readonly use_best: number; readonly factor: number },
): Promise<void> {
  await gpu.queue.run(scaleRangesKernel, {
    params: { cells, dtype: DTYPE_CODE[search.weight.dtype], ...by },
    buffers: { ranges: search.ranges, best: search.best },
    workgroups: spreadWorkgroups(Math.ceil(cells / WORKGROUP)),
    work: cells,
  });
}

async function runStep(
  gpu: Gpu,
  search: MseSearch,
  step: number,
  range: readonly [number, number] | null,
): Promise<void> {
  const { weight, grid, settings, ranges, best, statistics } = search;
  const cells = grid.cellsPerColumn * grid.cellsPerRow;
  const lanes = lanesFor(grid);
  const work = grid.cellRows * grid.cellColumns * WORK_PER_WEIGHT;
  const constants = stepConstants(search);
  for (const { first, end } of gpu.queue.split(mseStepKernel, cells, work)) {
    await gpu.queue.run(mseStepKernel, {
      params: { ...stepParams(search, step, range), first_cell: first, end_cell: end, lanes },
      constants,
      buffers: {
        weights: weight.weights,
        ranges,
        powers: search.powers ?? weight.weights,
        importance: settings.weighted ? search.importance : weight.weights,
        best,
        statistics,
      },
      workgroups: spreadWorkgroups(Math.ceil(((end - first) * lanes) / WORKGROUP)),
      work: (end - first) * work,
    });
  }
}

/** The search rounds scales only where the format has no other: NVFP4's groups are searched without global scale. */
function searchRule({ args, weight }: MseSearch) {
  return qparamsRule(args.strategy === "tensor_group" ? { ...args, scale_dtype: null } : args, weight.dtype);
}

/** What is the same for all of a weight, and compiled in. */
function stepConstants(search: MseSearch) {
  const { args, weight, settings } = search;
  const { dtype, symmetric, scale_kind } = searchRule(search);
  return {
    DTYPE: weight.dtype === "F32" ? DTYPE_OPEN : dtype,
    KIND: args.type === "int" ? 0 : args.num_bits === 8 ? 1 : 2,
    SYMMETRIC: symmetric,
    SCALE_KIND: scale_kind,
    WEIGHTED: Number(settings.weighted),
  };
}

function stepParams(search: MseSearch, step: number, range: readonly [number, number] | null) {
  const { weight, grid, settings } = search;
  const { dtype, q_min, q_max, epsilon } = searchRule(search);
  return {
    rows: weight.rows,
    columns: weight.columns,
    dtype,
    ...gridParams(grid),
    q_min,
    q_max,
    epsilon,
    step,
    shrink: shrinkOf(step, settings),
    norm: settings.norm,
    largest: LARGEST[settings.weighted ? "F32" : weight.dtype],
    range_given: Number(range !== null),
    low: range?.[0] ?? 0,
    high: range?.[1] ?? 0,
  };
}
