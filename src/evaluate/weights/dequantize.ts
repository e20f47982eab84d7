// Stored codes back to float32, for schemes that onnxruntime has no operator for (compressed-tensors `dequantize`):
// (code − zero point) · scale, the products in float32.

import { invariant } from "../../errors.ts";
import {
  cellGrid,
  codeStorage,
  compressionFormat,
  packedRowBytes,
  scaleStorage,
} from "../../formats/compression-format.ts";
import { isFloatDtype, widenToFloat32 } from "../../formats/dtype.ts";
import { e2m1ToNumber } from "../../formats/fp4.ts";
import { e4m3ToNumber } from "../../formats/fp8.ts";
import { e8m0ToNumber } from "../../formats/mx-scale.ts";
import { unpackStream } from "../../formats/packing.ts";
import type { QuantizationArgs, QuantizationScheme } from "../../formats/quantization-args.ts";
import type { Linear } from "../../model/decoder-description.ts";
import type { StoredModel } from "./stored-model.ts";

const E4M3 = Float32Array.from({ length: 256 }, (_, code) => e4m3ToNumber(code));
const E2M1 = Float32Array.from({ length: 16 }, (_, code) => e2m1ToNumber(code));

export type QuantizedScheme = QuantizationScheme & { readonly weights: QuantizationArgs };

/** The scheme of a Linear whose tensors are quantized, or null. */
export function quantizedScheme(model: StoredModel, { module }: Linear): QuantizedScheme | null {
  const scheme = model.schemeOf(module);
  if (!scheme?.weights || !model.tensor(`${module}.weight_scale`)) return null;
  return { ...scheme, weights: scheme.weights };
}

/** Rows [firstRow, firstRow + rows) of a quantized Linear's weight, (rows, columns) float32. */
export async function dequantizeRows(
  model: StoredModel,
  linear: Linear,
  scheme: QuantizedScheme,
  firstRow: number,
  rows: number,
): Promise<Float32Array<ArrayBuffer>> {
  const { columns } = linear;
  const grid = cellGrid(scheme.weights, linear.rows, columns);
  const [codes, scales, zeros, groups] = await Promise.all([
    readCodes(model, linear, scheme, firstRow, rows),
    readScales(model, linear.module, scheme.weights),
    readZeroPoints(model, linear, scheme),
    readGroups(model, linear.module),
  ]);
  const weight = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const firstCell = Math.floor((firstRow + row) / grid.cellRows) * grid.cellsPerRow;
    for (let column = 0; column < columns; column++) {
      const cell = firstCell + (groups ? (groups[column] ?? 0) : Math.floor(column / grid.cellColumns));
      const at = row * columns + column;
      weight[at] = ((codes[at] ?? 0) - (zeros ? (zeros[cell] ?? 0) : 0)) * (scales[cell] ?? 0);
    }
  }
  return weight;
}

/** Codes as numbers: integers without their offset, or the values that float codes stand for. */
async function readCodes(
  model: StoredModel,
  { module, columns }: Linear,
  scheme: QuantizedScheme,
  firstRow: number,
  rows: number,
): Promise<Float32Array | Int32Array | Int8Array> {
  const storage = codeStorage(scheme.weights, compressionFormat(scheme));
  const name = model.tensor(`${module}.weight_packed`) ? `${module}.weight_packed` : `${module}.weight`;
  const bits = storage.storedBits;
  const rowBytes = storage.rowsPadded ? packedRowBytes(columns, bits) : (columns * bits) / 8;
  const bytes = await model.read(name, { start: firstRow * rowBytes, end: (firstRow + rows) * rowBytes });
  if (storage.kind === "e4m3") return Float32Array.from(bytes, (code) => E4M3[code] ?? 0);
  if (storage.kind === "e2m1") {
    return Float32Array.from({ length: rows * columns }, (_, index) => {
      const byte = bytes[index >> 1] ?? 0;
      return E2M1[index % 2 === 0 ? byte & 15 : byte >> 4] ?? 0;
    });
  }
  if (!storage.rowsPadded) return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = new Uint32Array(bytes.slice().buffer);
  const codes = new Int32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const rowWords = words.subarray((row * rowBytes) / 4, ((row + 1) * rowBytes) / 4);
    codes.set(unpackStream(rowWords, bits, storage.storedOffset, columns), row * columns);
  }
  return codes;
}

/** A scale for each cell, divided by the tensor's global scale where it has one. */
export async function readScales(
  model: StoredModel,
  module: string,
  args: QuantizationArgs,
): Promise<Float32Array<ArrayBuffer>> {
  const tensor = model.tensor(`${module}.weight_scale`);
  invariant(tensor, `${module} has scales`);
  const bytes = await model.read(tensor.name);
  const storage = scaleStorage(args);
  if (storage === "e8m0") return Float32Array.from(bytes, e8m0ToNumber);
  const scales = isFloatDtype(tensor.dtype)
    ? widenToFloat32(tensor.dtype, bytes)
    : Float32Array.from(bytes, (code) => E4M3[code] ?? 0);
  const global = model.tensor(`${module}.weight_global_scale`);
  if (!global) return scales;
  const [globalScale = 1] = widenToFloat32("F32", await model.read(global.name));
  return scales.map((scale) => scale / globalScale);
}

/** A zero point for each cell, or null for symmetric schemes. */
export async function readZeroPoints(
  model: StoredModel,
  { module, rows, columns }: Linear,
  { weights }: QuantizedScheme,
): Promise<Int8Array | null> {
  const tensor = weights.symmetric ? null : model.tensor(`${module}.weight_zero_point`);
  if (!tensor) return null;
  const bytes = await model.read(tensor.name);
  if (tensor.dtype !== "I32") return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Packed down the rows: (words, cellsPerRow), each column of words one stream.
  const { cellsPerColumn, cellsPerRow } = cellGrid(weights, rows, columns);
  const packed = new Uint32Array(bytes.slice().buffer);
  const zeros = new Int8Array(cellsPerColumn * cellsPerRow);
  for (let cell = 0; cell < cellsPerRow; cell++) {
    const stream = Uint32Array.from(
      { length: packed.length / cellsPerRow },
      (_, word) => packed[word * cellsPerRow + cell] ?? 0,
    );
    const column = unpackStream(stream, weights.num_bits, 2 ** (weights.num_bits - 1), cellsPerColumn);
    for (const [row, zero] of column.entries()) zeros[row * cellsPerRow + cell] = zero;
  }
  return zeros;
}

/** The group of each column where activation order shuffled them, or null. */
async function readGroups(model: StoredModel, module: string): Promise<Int32Array | null> {
  const tensor = model.tensor(`${module}.weight_g_idx`);
  if (!tensor) return null;
  const bytes = await model.read(tensor.name);
  return tensor.dtype === "I64"
    ? Int32Array.from(new BigInt64Array(bytes.slice().buffer), Number)
    : new Int32Array(bytes.slice().buffer);
}
