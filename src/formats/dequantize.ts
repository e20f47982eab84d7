// What the stored codes of a weight mean, in plain TypeScript: some rows at a time, from the bytes of the file. Source:
// compressed-tensors `dequantize` (quantization/lifecycle/forward_helpers.py) and its compressors' `decompress`.

import {
  type CellGrid,
  cellGrid,
  codeStorage,
  packedRowBytes,
  packsZeroPoints,
  scaleStorage,
} from "./compression-format.ts";
import { DTYPE_BITS, type FloatDtype, roundTo, widenToFloat32 } from "./dtype.ts";
import { e2m1ToNumber } from "./fp4.ts";
import { e4m3ToNumber } from "./fp8.ts";
import { e8m0ToNumber } from "./mx-scale.ts";
import { unpackStream } from "./packing.ts";
import type { CompressionFormat, QuantizationArgs } from "./quantization-args.ts";

/** A quantized weight of (rows, columns). `dtype` is that of its scales, or of the model where scales have their own. */
export interface QuantizedWeight {
  readonly args: QuantizationArgs;
  readonly format: CompressionFormat;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
}

/** Bytes [start, end) of a tensor. */
export interface PartRange {
  readonly start: number;
  readonly end: number;
}

export interface RowRanges {
  readonly codes: PartRange;
  readonly scales: PartRange;
  /** The whole tensor: packed zero points of several rows share words. Null for symmetric weights. */
  readonly zeroPoints: PartRange | null;
}

/** The bytes of some rows of a weight. */
export interface RowParts {
  readonly codes: Uint8Array;
  readonly scales: Uint8Array;
  readonly zeroPoints: Uint8Array | null;
  /** NVFP4's scale of the whole tensor, by which the others are divided; null where there is none. */
  readonly globalScale: number | null;
  /** Group of each column (actorder "group"), or null: groups in the order of columns. */
  readonly groupIndex: Int32Array | null;
}

/** The tensor that holds the codes. */
export function codesTensor({ args, format }: Pick<QuantizedWeight, "args" | "format">): string {
  const { rowsPadded, kind } = codeStorage(args, format);
  return rowsPadded || kind === "e2m1" ? "weight_packed" : "weight";
}

/** Where the parts of rows `firstRow` … `firstRow + rows` lie in their tensors. */
export function rowRanges(weight: QuantizedWeight, firstRow: number, rows: number): RowRanges {
  const grid = gridOf(weight);
  const codeBytes = codeRowBytes(weight);
  const scaleBytes = (grid.cellsPerRow * scaleBits(weight)) / 8;
  const firstCell = Math.floor(firstRow / grid.cellRows);
  const endCell = Math.ceil((firstRow + rows) / grid.cellRows);
  return {
    codes: { start: firstRow * codeBytes, end: (firstRow + rows) * codeBytes },
    scales: { start: firstCell * scaleBytes, end: endCell * scaleBytes },
    zeroPoints: weight.args.symmetric ? null : { start: 0, end: zeroPointBytes(weight, grid) },
  };
}

/** One weight: its number as stored (an integer, or the value of a float code), its zero point and its scale. */
export type VisitWeight = (index: number, code: number, zeroPoint: number, scale: number) => void;

/** Calls `visit` for each weight of the rows, row by row; `index` counts from the first of them. */
export function visitRows(
  weight: QuantizedWeight,
  firstRow: number,
  rows: number,
  parts: RowParts,
  visit: VisitWeight,
): void {
  const { columns } = weight;
  const grid = gridOf(weight);
  const scales = readScales(weight, parts.scales);
  const zeroPoints = parts.zeroPoints ? readZeroPoints(weight, grid, parts.zeroPoints) : null;
  const firstCellRow = Math.floor(firstRow / grid.cellRows);
  const divisor = parts.globalScale;
  for (let row = 0; row < rows; row++) {
    const codes = readCodes(weight, parts.codes, row);
    const cellRow = Math.floor((firstRow + row) / grid.cellRows);
    for (let column = 0; column < columns; column++) {
      const cellColumn = parts.groupIndex?.[column] ?? Math.floor(column / grid.cellColumns);
      const scale = scales[(cellRow - firstCellRow) * grid.cellsPerRow + cellColumn] ?? Number.NaN;
      const zeroPoint = zeroPoints ? (zeroPoints[cellRow * grid.cellsPerRow + cellColumn] ?? Number.NaN) : 0;
      const effective = divisor === null ? scale : Math.fround(scale / divisor);
      visit(row * columns + column, codes[column] ?? Number.NaN, zeroPoint, effective);
    }
  }
}

/** (code − zero point) · scale of some rows, rounded to the weight's dtype; in float32 with a global scale. */
export function dequantizeRows(
  weight: QuantizedWeight,
  firstRow: number,
  rows: number,
  parts: RowParts,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(rows * weight.columns);
  const dtype = parts.globalScale === null ? weight.dtype : "F32";
  visitRows(weight, firstRow, rows, parts, (index, code, zeroPoint, scale) => {
    values[index] = dequantized(dtype, code, zeroPoint, scale);
  });
  return values;
}

export function dequantized(dtype: FloatDtype, code: number, zeroPoint: number, scale: number): number {
  return roundTo(dtype, roundTo(dtype, code - zeroPoint) * scale);
}

function gridOf({ args, rows, columns }: QuantizedWeight): CellGrid {
  return cellGrid(args, rows, columns);
}

function codeRowBytes({ args, format, columns }: QuantizedWeight): number {
  const { rowsPadded, storedBits } = codeStorage(args, format);
  return rowsPadded ? packedRowBytes(columns, storedBits) : (columns * storedBits) / 8;
}

function scaleBits({ args, dtype }: QuantizedWeight): number {
  return scaleStorage(args) === "dtype" ? DTYPE_BITS[dtype] : 8;
}

function zeroPointBytes({ args, format }: QuantizedWeight, grid: CellGrid): number {
  if (!packsZeroPoints(args, format)) return grid.cellsPerColumn * grid.cellsPerRow;
  return packedRowBytes(grid.cellsPerColumn, args.num_bits) * grid.cellsPerRow;
}

function readCodes(weight: QuantizedWeight, bytes: Uint8Array, row: number): ArrayLike<number> {
  const { args, format, columns } = weight;
  const { kind, rowsPadded, storedBits, storedOffset } = codeStorage(args, format);
  const rowBytes = codeRowBytes(weight);
  const own = bytes.slice(row * rowBytes, (row + 1) * rowBytes);
  if (rowsPadded) return unpackStream(new Uint32Array(own.buffer), storedBits, storedOffset, columns);
  if (kind === "int") return new Int8Array(own.buffer);
  if (kind === "e4m3") return Float32Array.from(own, e4m3ToNumber);
  return Float32Array.from({ length: columns }, (_, column) =>
    e2m1ToNumber(((own[column >>> 1] ?? 0) >>> (4 * (column & 1))) & 15),
  );
}

function readScales({ args, dtype }: QuantizedWeight, bytes: Uint8Array): Float32Array {
  const storage = scaleStorage(args);
  if (storage === "dtype") return widenToFloat32(dtype, bytes);
  return Float32Array.from(bytes, storage === "e4m3" ? e4m3ToNumber : e8m0ToNumber);
}

/** One zero point a cell, row-major. */
function readZeroPoints(weight: QuantizedWeight, grid: CellGrid, bytes: Uint8Array): Int32Array {
  const { args, format } = weight;
  if (!packsZeroPoints(args, format)) return Int32Array.from(new Int8Array(bytes.slice().buffer));
  const words = new Uint32Array(bytes.slice().buffer);
  const { cellsPerColumn, cellsPerRow } = grid;
  const result = new Int32Array(cellsPerColumn * cellsPerRow);
  const streamWords = words.length / cellsPerRow;
  for (let column = 0; column < cellsPerRow; column++) {
    const stream = Uint32Array.from(
      { length: streamWords },
      (_, word) => words[word * cellsPerRow + column] ?? 0,
    );
    const codes = unpackStream(stream, args.num_bits, 2 ** (args.num_bits - 1), cellsPerColumn);
    codes.forEach((code, row) => (result[row * cellsPerRow + column] = code));
  }
  return result;
}
