import { DTYPE_CODE } from "../../gpu/elements/dtype-code.ts";
import type { FloatDtype } from "../../formats/numbers/dtype.ts";
import type { CellGrid } from "../../formats/schemes/compression-format.ts";
import { quantizedRange, type QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { type BufferPart, kernel, spreadWorkgroups } from "../../gpu/kernel.ts";
import numberFormats from "../../gpu/elements/number-formats.wgsl?raw";
import { struct } from "../../gpu/struct.ts";
import { CODE_CONSTANTS, codeConstants } from "../encode/code-values.ts";
import codeValues from "../encode/code-values.wgsl?raw";
import dequantizeCode from "./dequantize.wgsl?raw";
import divideScalesCode from "./divide-scales.wgsl?raw";
import gatherCode from "./gather-columns.wgsl?raw";
import rtnErrorsCode from "./rtn-errors.wgsl?raw";
import walkCode from "./walk-block.wgsl?raw";

/** Columns that one walk quantizes before the rest is updated. */
export const WALK_BLOCK = 128;
const WALK_ROWS = 8;
const WORKGROUP = 64;

/** A weight's shape and dtype, and the cells that share a scale. */
const CELLS = {
  rows: "u32",
  columns: "u32",
  dtype: "u32",
  cell_rows: "u32",
  cells_per_row: "u32",
} as const;

export const walkKernel = kernel({
  name: "gptq.walk-block",
  code: [numberFormats, codeValues, walkCode],
  constants: CODE_CONSTANTS,
  params: struct({
    ...CELLS,
    q_min: "f32",
    q_max: "f32",
    first: "u32",
    end: "u32",
    panel_first_row: "u32",
    panel_stride: "u32",
    stride: "u32",
    first_group: "u32",
  }),
  bindings: {
    weights: "read",
    order: "read",
    scales: "read",
    zero_points: "read",
    factor: "read",
    pushed: "read_write",
    codes: "read_write",
    errors: "read_write",
  },
});

export const rtnErrorsKernel = kernel({
  name: "gptq.rtn-errors",
  code: [numberFormats, codeValues, rtnErrorsCode],
  constants: CODE_CONSTANTS,
  params: struct({
    ...CELLS,
    q_min: "f32",
    q_max: "f32",
    error_stride: "u32",
    keeps_codes: "u32",
    first_row: "u32",
    end_row: "u32",
  }),
  bindings: {
    weights: "read",
    order: "read",
    scales: "read",
    zero_points: "read",
    errors: "read_write",
    codes: "read_write",
  },
});

export const divideScalesKernel = kernel({
  name: "gptq.divide-scales",
  code: [numberFormats, divideScalesCode],
  params: struct({ count: "u32", global_scale: "f32" }),
  bindings: { scales: "read_write" },
});

export const gatherColumnsKernel = kernel({
  name: "gptq.gather-columns",
  code: [numberFormats, gatherCode],
  params: struct({
    columns: "u32",
    dtype: "u32",
    sequence: "u32",
    from_stride: "u32",
    stride: "u32",
    first_row: "u32",
    end_row: "u32",
  }),
  bindings: { weights: "read", order: "read", gathered: "read_write" },
});

export const dequantizeKernel = kernel({
  name: "gptq.dequantize",
  code: [numberFormats, codeValues, dequantizeCode],
  constants: CODE_CONSTANTS,
  params: struct({
    ...CELLS,
    first_word: "u32",
    end_word: "u32",
  }),
  bindings: { codes: "read", scales: "read", zero_points: "read", group_of: "read", words: "read_write" },
});

/** Rows of a weight on the GPU with what quantizes them. */
export interface GptqTile {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: FloatDtype;
  readonly args: QuantizationArgs;
  /** Cells that share a scale. */
  readonly grid: CellGrid;
  readonly weights: BufferPart;
  /** Four u32 a place: original column, group, dead, unused. */
  readonly order: BufferPart;
  readonly scales: BufferPart;
  readonly zero_points: BufferPart;
}

function cellParams({ rows, columns, dtype, grid }: Pick<GptqTile, "rows" | "columns" | "dtype" | "grid">) {
  const { cellRows: cell_rows, cellsPerRow: cells_per_row } = grid;
  return { rows, columns, dtype: DTYPE_CODE[dtype], cell_rows, cells_per_row };
}

function tileBuffers({ weights, order, scales, zero_points }: GptqTile) {
  return { weights, order, scales, zero_points };
}

/** Rows of the factor that a block of columns needs: they lie in one panel. */
export interface FactorBlock {
  readonly first: number;
  readonly end: number;
  readonly panel: BufferPart;
  readonly panelFirstRow: number;
  readonly panelStride: number;
}

/**
 * Quantizes the block's columns for all rows of the tile. `pushed` and `errors` are (rows, stride) float32, stride a
 * multiple of 4; the block's part of `pushed` becomes its part of the product of errors and factor. See walk-block.wgsl.
 */
export async function walkBlock(
  gpu: Gpu,
  tile: GptqTile,
  block: FactorBlock,
  buffers: { readonly pushed: BufferPart; readonly codes: BufferPart; readonly errors: BufferPart },
  stride: number,
): Promise<void> {
  const [q_min, q_max] = quantizedRange(tile.args);
  const width = block.end - block.first;
  const workEach = WALK_ROWS * width * (WALK_BLOCK + 20);
  for (const { first, end } of gpu.queue.split(walkKernel, Math.ceil(tile.rows / WALK_ROWS), workEach)) {
    await gpu.queue.run(walkKernel, {
      constants: codeConstants(tile.args),
      params: {
        ...cellParams(tile),
        q_min,
        q_max,
        first: block.first,
        end: block.end,
        panel_first_row: block.panelFirstRow,
        panel_stride: block.panelStride,
        stride,
        first_group: first,
      },
      buffers: { ...tileBuffers(tile), factor: block.panel, ...buffers },
      workgroups: [end - first],
      work: (end - first) * workEach,
    });
  }
}

/** Errors of rounding to nearest, in the order of elimination, (rows, stride) float32; and, if they are kept, its codes. */
export async function rtnErrors(
  gpu: Gpu,
  tile: GptqTile,
  { errors, codes }: { readonly errors: BufferPart; readonly codes: BufferPart },
  stride: number,
  keepsCodes = false,
): Promise<void> {
  const [q_min, q_max] = quantizedRange(tile.args);
  for (const { first, end } of gpu.queue.split(rtnErrorsKernel, tile.rows, tile.columns)) {
    await gpu.queue.run(rtnErrorsKernel, {
      constants: codeConstants(tile.args),
      params: {
        ...cellParams(tile),
        q_min,
        q_max,
        error_stride: stride,
        keeps_codes: Number(keepsCodes),
        first_row: first,
        end_row: end,
      },
      buffers: { ...tileBuffers(tile), errors, codes },
      workgroups: [Math.ceil(tile.columns / WORKGROUP), end - first],
      work: (end - first) * tile.columns,
    });
  }
}

/** Orders of columns, by what stands for each in the kernel. */
const SEQUENCES = { source: 0, elimination: 1, quantization: 2 } as const;

/** What is gathered: a tile's weights, or values of its shape that lie `stride` apart. */
export interface Gathering extends Pick<GptqTile, "rows" | "columns" | "dtype" | "weights" | "order"> {
  readonly stride?: number;
}

/** Rows as float32, (rows, stride), with their columns in a sequence: that of the source, of elimination, of quantization. */
export async function gatherColumns(
  gpu: Gpu,
  tile: Gathering,
  gathered: BufferPart,
  stride: number,
  sequence: keyof typeof SEQUENCES,
): Promise<void> {
  for (const { first, end } of gpu.queue.split(gatherColumnsKernel, tile.rows, tile.columns)) {
    await gpu.queue.run(gatherColumnsKernel, {
      params: {
        columns: tile.columns,
        dtype: DTYPE_CODE[tile.dtype],
        sequence: SEQUENCES[sequence],
        from_stride: tile.stride ?? tile.columns,
        stride,
        first_row: first,
        end_row: end,
      },
      buffers: { weights: tile.weights, order: tile.order, gathered },
      workgroups: [Math.ceil(tile.columns / WORKGROUP), end - first],
      work: (end - first) * tile.columns,
    });
  }
}

/** Codes to weights of the tile's dtype, (rows, columns) without padding. */
export async function dequantizeCodes(
  gpu: Gpu,
  tile: Omit<GptqTile, "weights" | "order">,
  buffers: { readonly codes: BufferPart; readonly group_of: BufferPart; readonly words: BufferPart },
): Promise<void> {
  const perWord = tile.dtype === "F32" ? 1 : 2;
  const words = Math.ceil((tile.rows * tile.columns) / perWord);
  for (const { first, end } of gpu.queue.split(dequantizeKernel, words, perWord)) {
    await gpu.queue.run(dequantizeKernel, {
      constants: codeConstants(tile.args),
      params: {
        ...cellParams(tile),
        first_word: first,
        end_word: end,
      },
      buffers: { scales: tile.scales, zero_points: tile.zero_points, ...buffers },
      workgroups: spreadWorkgroups(Math.ceil((end - first) / WORKGROUP)),
      work: (end - first) * perWord,
    });
  }
}

/** scales[i] /= globalScale, correctly rounded. */
export async function divideScales(
  gpu: Gpu,
  scales: BufferPart,
  count: number,
  globalScale: number,
): Promise<void> {
  await gpu.queue.run(divideScalesKernel, {
    params: { count, global_scale: globalScale },
    buffers: { scales },
    workgroups: spreadWorkgroups(Math.ceil(count / WORKGROUP)),
    work: count,
  });
}
