// Integer weights for MatMulNBits. The bytes of a packed symmetric tensor are what the operator wants, low bits first along
// the columns and unsigned; int8 codes become unsigned by turning their highest bit. Scales are repeated where a block is
// smaller than a group, zero points are packed anew, along the blocks of a row.

import { cellGrid, codeStorage, compressionFormat } from "../../formats/schemes/compression-format.ts";
import type { LinearLayout, NbitsLayout } from "../graph/weight-input.ts";
import { allScales, allZeroPoints, quantizedScheme, type QuantizedScheme } from "./dequantize.ts";
import type { StoredModel } from "./stored-model.ts";
import type { Linear } from "../../model/weight-description.ts";

/** Blocks that onnxruntime's kernels are written for, the best first. */
const BLOCK_SIZES = [128, 64, 32, 16, 256] as const;

/** How a Linear is handed over: as stored if MatMulNBits reads that, else dense. */
export function linearLayout(model: StoredModel, linear: Linear, maxInputBytes: number): LinearLayout {
  const dense = { kind: "dense" } as const;
  const scheme = quantizedScheme(model, linear);
  if (!scheme || model.tensor(`${linear.module}.weight_g_idx`)) return dense;
  const storage = codeStorage(scheme.weights, compressionFormat(scheme));
  const bits = storage.storedBits;
  if (storage.kind !== "int" || (bits !== 4 && bits !== 8)) return dense;
  if (!storage.rowsPadded && !scheme.weights.symmetric) return dense;
  if ((linear.rows * linear.columns * bits) / 8 > maxInputBytes) return dense;
  const { cellColumns } = cellGrid(scheme.weights, linear.rows, linear.columns);
  const blockSize = BLOCK_SIZES.find((size) => cellColumns % size === 0 && linear.columns % size === 0);
  if (blockSize === undefined || (linear.columns * bits) % 32 !== 0) return dense;
  return { kind: "nbits", bits, blockSize, zeroPoints: !scheme.weights.symmetric };
}

/** uint8 (rows, blocks, blockSize · bits / 8) */
export async function nbitsCodes(
  model: StoredModel,
  linear: Linear,
  scheme: QuantizedScheme,
): Promise<Uint8Array<ArrayBuffer>> {
  const { rowsPadded } = codeStorage(scheme.weights, compressionFormat(scheme));
  if (rowsPadded) return await model.read(`${linear.module}.weight_packed`);
  const codes = await model.read(`${linear.module}.weight`);
  for (const [index, code] of codes.entries()) codes[index] = code ^ 0x80;
  return codes;
}

/** float32 (rows, blocks) */
export async function nbitsScales(
  model: StoredModel,
  linear: Linear,
  scheme: QuantizedScheme,
  { blockSize }: NbitsLayout,
): Promise<Float32Array<ArrayBuffer>> {
  const scales = await allScales(model, linear, scheme);
  const { cellRows, cellColumns } = cellGrid(scheme.weights, linear.rows, linear.columns);
  if (cellRows === 1 && cellColumns === blockSize) return scales;
  return Float32Array.from(cellsOfBlocks(linear, scheme, blockSize), (cell) => scales[cell] ?? 0);
}

/** uint8 (rows, ⌈blocks · bits / 8⌉) */
export async function nbitsZeroPoints(
  model: StoredModel,
  linear: Linear,
  scheme: QuantizedScheme,
  { blockSize, bits }: NbitsLayout,
): Promise<Uint8Array<ArrayBuffer>> {
  const zeros = await allZeroPoints(model, linear, scheme);
  const blocks = linear.columns / blockSize;
  const rowBytes = Math.ceil((blocks * bits) / 8);
  const packed = new Uint8Array(linear.rows * rowBytes);
  for (const [index, cell] of cellsOfBlocks(linear, scheme, blockSize).entries()) {
    const stored = (zeros?.[cell] ?? 0) + 2 ** (bits - 1);
    const bit = (index % blocks) * bits;
    const at = Math.floor(index / blocks) * rowBytes + (bit >> 3);
    packed[at] = (packed[at] ?? 0) | (stored << (bit & 7));
  }
  return packed;
}

/** The cell that each block lies in, row by row. */
function cellsOfBlocks({ rows, columns }: Linear, scheme: QuantizedScheme, blockSize: number): Uint32Array {
  const grid = cellGrid(scheme.weights, rows, columns);
  const blocks = columns / blockSize;
  return Uint32Array.from({ length: rows * blocks }, (_, index) => {
    const row = Math.floor(index / blocks);
    const column = (index % blocks) * blockSize;
    return Math.floor(row / grid.cellRows) * grid.cellsPerRow + Math.floor(column / grid.cellColumns);
  });
}
