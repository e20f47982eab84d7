// What Strassen's products are made of: sums of a matrix's quadrants, scaled so that none is much larger than what it is added to.

import type { FloatDtype } from "../../../formats/numbers/dtype.ts";
import { invariant } from "../../../errors.ts";
import { DTYPE_CODE } from "../../elements/dtype-code.ts";
import numberFormats from "../../elements/number-formats.wgsl?raw";
import type { Gpu } from "../../gpu.ts";
import { kernel, spreadWorkgroups } from "../../kernel.ts";
import { struct } from "../../struct.ts";
import type { Matrix } from "../matmul.ts";
import columnsCode from "./strassen-columns.wgsl?raw";
import loadCode from "./strassen-load.wgsl?raw";
import operandCode from "./strassen-operand.wgsl?raw";
import rowsCode from "./strassen-rows.wgsl?raw";
import scaledCode from "./strassen-scaled.wgsl?raw";
import scalesCode from "./strassen-scales.wgsl?raw";
import { PLANES, type ProductSize, type StrassenScratch } from "./strassen-size.ts";

/** The largest magnitudes of a weight's columns. */
export const strassenColumnsKernel = kernel({
  name: "gpu.strassen-columns",
  code: [numberFormats, loadCode, columnsCode],
  params: struct({ rows: "u32", columns: "u32", stride: "u32", offset: "u32", run: "u32" }),
  bindings: { values: "read", column_sizes: "read_write" },
  constants: ["DTYPE"],
});

/** The largest magnitudes of a matrix's rows. */
export const strassenRowsKernel = kernel({
  name: "gpu.strassen-rows",
  code: [numberFormats, loadCode, scalesCode, scaledCode, rowsCode],
  params: struct({
    rows: "u32",
    columns: "u32",
    stride: "u32",
    offset: "u32",
    first_row: "u32",
    end_row: "u32",
    rows_at: "u32",
  }),
  bindings: { values: "read", column_sizes: "read", row_sizes: "read_write" },
  constants: ["DTYPE", "LEFT"],
});

/** Seven operands of a matrix. */
export const strassenOperandKernel = kernel({
  name: "gpu.strassen-operand",
  code: [numberFormats, loadCode, scalesCode, scaledCode, operandCode],
  params: struct({
    rows: "u32",
    half: "u32",
    stride: "u32",
    offset: "u32",
    first_block: "u32",
    end_block: "u32",
    column_blocks: "u32",
    rows_at: "u32",
    plane_stride: "u32",
  }),
  bindings: { values: "read", column_sizes: "read", row_sizes: "read", planes: "read_write" },
  constants: ["DTYPE", "LEFT"],
});

/** What a workgroup takes of a matrix while operands are made. */
const BLOCK = { pairs: 32, columns: 128 } as const;
const COLUMNS_WORKGROUP = 64;
/** Runs of rows in which columns' largest magnitudes are looked for: with one, 64 workgroups leave a large GPU idle for longer than all sums take. */
const COLUMN_RUNS = 16;

type Side = "left" | "right";

export interface SideMatrix extends Matrix {
  readonly dtype: FloatDtype;
}

/** Begins to compile what makes operands of weights in this dtype. */
export function prepareOperands({ queue }: Gpu, bDtype: FloatDtype): void {
  for (const DTYPE of [DTYPE_CODE[bDtype], DTYPE_CODE.F32]) queue.prepare(strassenColumnsKernel, { DTYPE });
  for (const each of [strassenRowsKernel, strassenOperandKernel]) {
    queue.prepare(each, { DTYPE: DTYPE_CODE.F32, LEFT: 1 });
    queue.prepare(each, { DTYPE: DTYPE_CODE[bDtype], LEFT: 0 });
  }
}

/** Where the largest magnitudes of both sides' rows begin. */
export function rowPlaces({ m }: ProductSize) {
  return { left: 0, right: Math.ceil(m / 4) * 4 };
}

/** Finds the largest magnitudes of a weight's columns, in runs of rows, each of which leaves a row of them where products will lie. */
export async function findColumns(
  gpu: Gpu,
  { columnSizes, products }: StrassenScratch,
  b: SideMatrix,
  { n: rows, k: columns }: ProductSize,
): Promise<void> {
  const run = Math.ceil(rows / COLUMN_RUNS);
  const runs = Math.ceil(rows / run);
  invariant(products.bytes >= runs * columns * 4, "magnitudes of all runs have room among the products");
  const weight = { rows, columns, stride: b.stride, offset: b.offset ?? 0, run };
  const found = { rows: runs, columns, stride: columns, offset: 0, run: runs };
  for (const { params, values, to, dtype } of [
    { params: weight, values: b.buffer, to: products, dtype: b.dtype },
    { params: found, values: products, to: columnSizes, dtype: "F32" },
  ] as const) {
    await gpu.queue.run(strassenColumnsKernel, {
      params,
      buffers: { values, column_sizes: to },
      constants: { DTYPE: DTYPE_CODE[dtype] },
      workgroups: [Math.ceil(columns / COLUMNS_WORKGROUP), Math.ceil(params.rows / params.run)],
      work: params.rows * columns,
    });
  }
}

/** Makes the seven operands of a side once its columns' magnitudes are found. */
export async function makeOperand(
  gpu: Gpu,
  scratch: StrassenScratch,
  side: Side,
  matrix: SideMatrix,
  size: ProductSize,
): Promise<void> {
  const rows = side === "left" ? size.m : size.n;
  await findRows(gpu, scratch, side, matrix, size);
  const half = size.k / 2;
  const pairs = planeStride(rows);
  const columnBlocks = Math.ceil(half / BLOCK.columns);
  const work = 2 * BLOCK.pairs * size.k * (1 + PLANES / 4);
  for (const { first, end } of gpu.queue.split(strassenOperandKernel, Math.ceil(pairs / BLOCK.pairs), work)) {
    await gpu.queue.run(strassenOperandKernel, {
      params: {
        rows,
        half,
        stride: matrix.stride,
        offset: matrix.offset ?? 0,
        first_block: first,
        end_block: end,
        column_blocks: columnBlocks,
        rows_at: rowPlaces(size)[side],
        plane_stride: pairs,
      },
      buffers: {
        values: matrix.buffer,
        column_sizes: scratch.columnSizes,
        row_sizes: scratch.rowSizes,
        planes: scratch[side],
      },
      constants: sideConstants(side, matrix),
      workgroups: spreadWorkgroups((end - first) * columnBlocks),
      work: (end - first) * work,
    });
  }
}

async function findRows(
  gpu: Gpu,
  { columnSizes, rowSizes }: StrassenScratch,
  side: Side,
  matrix: SideMatrix,
  size: ProductSize,
): Promise<void> {
  const rows = side === "left" ? size.m : size.n;
  const { k: columns } = size;
  for (const { first, end } of gpu.queue.split(strassenRowsKernel, rows, columns)) {
    await gpu.queue.run(strassenRowsKernel, {
      params: {
        rows,
        columns,
        stride: matrix.stride,
        offset: matrix.offset ?? 0,
        first_row: first,
        end_row: end,
        rows_at: rowPlaces(size)[side],
      },
      buffers: { values: matrix.buffer, column_sizes: columnSizes, row_sizes: rowSizes },
      constants: sideConstants(side, matrix),
      workgroups: spreadWorkgroups(end - first),
      work: (end - first) * columns,
    });
  }
}

function sideConstants(side: Side, { dtype }: SideMatrix) {
  return { DTYPE: DTYPE_CODE[dtype], LEFT: Number(side === "left") };
}

/** Elements from row to row of a plane: its pairs of rows, up to whole loads. */
export function planeStride(rows: number): number {
  return Math.ceil(rows / 8) * 4;
}
