// What the stored codes of a weight mean, in plain TypeScript: some rows at a time, from the bytes of the file. Source:
// compressed-tensors `dequantize` (quantization/lifecycle/forward_helpers.py) and its compressors' `decompress`.

import { MalformedModelError } from "../../errors.ts";
import {
  type CellGrid,
  cellGrid,
  codeStorage,
  packedRowBytes,
  packsZeroPoints,
  scaleStorage,
} from "../schemes/compression-format.ts";
import { DTYPE_BITS, type FloatDtype, roundTo, widenToFloat32 } from "../numbers/dtype.ts";
import { e2m1ToNumber } from "../numbers/fp4.ts";
import { e4m3ToNumber } from "../numbers/fp8.ts";
import { e8m0ToNumber } from "../numbers/mx-scale.ts";
import { unpackStream } from "../numbers/packing.ts";
import type { CompressionFormat, QuantizationArgs } from "../schemes/quantization-args.ts";

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

/** Columns that `weight_shape`, (rows, columns) in int64 or int32, tells of a packed weight. */
export function storedColumns(weightShape: Uint8Array<ArrayBuffer>): number {
  const own = weightShape.slice().buffer;
  if (own.byteLength === 16) return Number(new BigInt64Array(own)[1]);
  return own.byteLength === 8 ? (new Int32Array(own)[1] ?? 0) : 0;
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

/** Reads one of a weight's tensors by its last name, whole or in part; null if the weight has no such tensor. */
export type ReadPart = (name: string, range?: PartRange) => Promise<Uint8Array<ArrayBuffer> | null>;

/** Reads what `visitRows` needs of some rows; a part that is missing is empty. */
export async function readRowParts(
  weight: QuantizedWeight,
  firstRow: number,
  rows: number,
  read: ReadPart,
): Promise<RowParts> {
  const ranges = rowRanges(weight, firstRow, rows);
  const [codes, scales, zeroPoints, globalScale, groupIndex] = await Promise.all([
    read(codesTensor(weight), ranges.codes),
    read("weight_scale", ranges.scales),
    ranges.zeroPoints ? read("weight_zero_point", ranges.zeroPoints) : null,
    read("weight_global_scale"),
    read("weight_g_idx"),
  ]);
  return {
    codes: codes ?? new Uint8Array(),
    scales: scales ?? new Uint8Array(),
    zeroPoints,
    globalScale: globalScale ? (widenToFloat32("F32", globalScale)[0] ?? Number.NaN) : null,
    groupIndex: groupIndex && readGroupIndex(groupIndex, weight),
  };
}

/**
 * int32, or int64 as some writers have it.
 * @throws MalformedModelError if a column is in a group that the weight has not.
 */
function readGroupIndex(bytes: Uint8Array<ArrayBuffer>, weight: QuantizedWeight): Int32Array {
  const own = bytes.slice().buffer;
  const groups = gridOf(weight).cellsPerRow;
  const indexes =
    own.byteLength === weight.columns * 8 ? Array.from(new BigInt64Array(own), Number) : new Int32Array(own);
  const outside = indexes.find((index) => index < 0 || index >= groups);
  if (outside === undefined) return Int32Array.from(indexes);
  throw new MalformedModelError(
    `weight_g_idx puts a column into group ${outside}, of ${groups} groups. The file is damaged, or belongs to another config.json.`,
  );
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
  const codes = readCodes(weight, parts.codes, rows);
  const scales = readScales(weight, parts);
  const zeroPoints = parts.zeroPoints ? readZeroPoints(weight, parts.zeroPoints) : null;
  const cells =
    parts.groupIndex ?? Int32Array.from({ length: columns }, (_, at) => Math.floor(at / grid.cellColumns));
  const firstCellRow = Math.floor(firstRow / grid.cellRows);
  for (let row = 0; row < rows; row++) {
    const cellRow = Math.floor((firstRow + row) / grid.cellRows);
    const firstScale = (cellRow - firstCellRow) * grid.cellsPerRow;
    const firstZeroPoint = cellRow * grid.cellsPerRow;
    for (let column = 0; column < columns; column++) {
      const index = row * columns + column;
      const cell = cells[column] ?? 0;
      const zeroPoint = zeroPoints ? (zeroPoints[firstZeroPoint + cell] ?? Number.NaN) : 0;
      visit(index, codes[index] ?? Number.NaN, zeroPoint, scales[firstScale + cell] ?? Number.NaN);
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

/** Every dtype holds the difference exactly: integers below 512, or the value of a float code. */
export function dequantized(dtype: FloatDtype, code: number, zeroPoint: number, scale: number): number {
  return roundTo(dtype, (code - zeroPoint) * scale);
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

const E4M3 = Float32Array.from({ length: 256 }, (_, code) => e4m3ToNumber(code));
const E2M1 = Float32Array.from({ length: 16 }, (_, code) => e2m1ToNumber(code));

/** Integers without their offset, or the values that float codes stand for; (rows, columns). */
function readCodes(
  weight: QuantizedWeight,
  bytes: Uint8Array,
  rows: number,
): Int8Array | Int32Array | Float32Array {
  const { args, format, columns } = weight;
  const { kind, rowsPadded, storedBits, storedOffset } = codeStorage(args, format);
  if (rowsPadded) {
    const words = new Uint32Array(bytes.slice().buffer);
    const rowWords = codeRowBytes(weight) / 4;
    const codes = new Int32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      const own = words.subarray(row * rowWords, (row + 1) * rowWords);
      codes.set(unpackStream(own, storedBits, storedOffset, columns), row * columns);
    }
    return codes;
  }
  if (kind === "int") return new Int8Array(bytes.slice().buffer);
  const values = new Float32Array(rows * columns);
  if (kind === "e4m3") {
    for (let at = 0; at < values.length; at++) values[at] = E4M3[bytes[at] ?? 0] ?? 0;
    return values;
  }
  for (let at = 0; at < values.length; at++)
    values[at] = E2M1[((bytes[at >>> 1] ?? 0) >>> (4 * (at & 1))) & 15] ?? 0;
  return values;
}

/** A scale for each cell that `scales` tells of, divided by the tensor's global scale where it has one. */
export function readScales(
  { args, dtype }: QuantizedWeight,
  { scales: bytes, globalScale }: Pick<RowParts, "scales" | "globalScale">,
): Float32Array<ArrayBuffer> {
  const storage = scaleStorage(args);
  if (storage === "dtype") return widenToFloat32(dtype, bytes);
  const scales = Float32Array.from(bytes, storage === "e4m3" ? e4m3ToNumber : e8m0ToNumber);
  return globalScale === null ? scales : scales.map((scale) => scale / globalScale);
}

/** One zero point a cell, row-major. */
export function readZeroPoints(weight: QuantizedWeight, bytes: Uint8Array): Int32Array {
  const { args, format } = weight;
  const grid = gridOf(weight);
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
