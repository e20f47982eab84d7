// Which tensors a quantized Linear becomes, and in which of compressed-tensors' formats
// (compressed-tensors `compressors/format.py` and the compressors' `compression_param_names`).

import { RecipeError } from "../errors.ts";
import type { FloatDtype } from "./dtype.ts";
import type { CompressionFormat, QuantizationArgs, QuantizationScheme } from "./quantization-args.ts";
import type { TensorSpec } from "./safetensors.ts";

/** How the code of one weight is stored. */
export interface CodeStorage {
  readonly kind: "int" | "e4m3";
  /** Bits that a code takes in the file. */
  readonly storedBits: number;
  /** Added to a code before it is stored: pack-quantized stores unsigned values. */
  readonly storedOffset: number;
  /** True if each row is padded to whole 32-bit words; false if codes are one byte each without padding. */
  readonly rowsPadded: boolean;
}

/** The rectangle of weights that shares a scale. */
export interface CellGrid {
  readonly cellRows: number;
  readonly cellColumns: number;
  readonly cellsPerColumn: number;
  readonly cellsPerRow: number;
}

/**
 * The format of a scheme, by the library's order of preference.
 * @throws RecipeError for a scheme that quantizes no weights.
 */
export function compressionFormat(scheme: QuantizationScheme): CompressionFormat {
  const { weights, input_activations: activations } = scheme;
  if (!weights) throw new RecipeError("This scheme quantizes no weights; there is nothing to compress.");
  if (weights.type === "int") return activations ? "int-quantized" : "pack-quantized";
  return activations ? "float-quantized" : "naive-quantized";
}

export function codeStorage(args: QuantizationArgs, format: CompressionFormat): CodeStorage {
  if (format === "pack-quantized") {
    const storedOffset = 2 ** (args.num_bits - 1);
    return { kind: "int", storedBits: args.num_bits, storedOffset, rowsPadded: true };
  }
  const kind = args.type === "int" ? "int" : "e4m3";
  return { kind, storedBits: 8, storedOffset: 0, rowsPadded: false };
}

/**
 * Divides a weight of (rows, columns) into cells.
 * @throws RecipeError if the columns are not a multiple of the group size.
 */
export function cellGrid(args: QuantizationArgs, rows: number, columns: number): CellGrid {
  const [cellRows, cellColumns] = cellSize(args, rows, columns);
  if (args.strategy === "group" && columns % cellColumns !== 0) {
    throw new RecipeError(
      `${columns} input columns are not a multiple of the group size ${cellColumns}. Choose a group size that divides them, or add the module to ignore.`,
    );
  }
  return {
    cellRows,
    cellColumns,
    cellsPerColumn: Math.ceil(rows / cellRows),
    cellsPerRow: Math.ceil(columns / cellColumns),
  };
}

function cellSize(args: QuantizationArgs, rows: number, columns: number): [number, number] {
  switch (args.strategy) {
    case "tensor":
      return [rows, columns];
    case "channel":
      return [1, columns];
    case "group":
    case "tensor_group":
      return [1, args.group_size ?? columns];
    case "block":
      return [args.block_structure?.[0] ?? rows, args.block_structure?.[1] ?? columns];
    case "token":
      throw new RecipeError(
        'The strategy "token" is for activations; weights take channel, group or tensor.',
      );
  }
}

/** Bytes of one packed row, padded to whole words. */
export function packedRowBytes(columns: number, bits: number): number {
  return Math.ceil((columns * bits) / 32) * 4;
}

/** The tensors that replace `<module>.weight` of shape (rows, columns), in no particular order. */
export function storedTensors(
  module: string,
  scheme: QuantizationScheme,
  dtype: FloatDtype,
  shape: readonly [number, number],
): TensorSpec[] {
  const { weights } = scheme;
  if (!weights) return [];
  const [rows, columns] = shape;
  const grid = cellGrid(weights, rows, columns);
  const scaleShape = weights.strategy === "tensor" ? [1] : [grid.cellsPerColumn, grid.cellsPerRow];
  const scale: TensorSpec = { name: `${module}.weight_scale`, dtype, shape: scaleShape };
  if (compressionFormat(scheme) !== "pack-quantized") {
    const codes: TensorSpec = {
      name: `${module}.weight`,
      dtype: weights.type === "int" ? "I8" : "F8_E4M3",
      shape: [rows, columns],
    };
    const zeroPoint: TensorSpec = { name: `${module}.weight_zero_point`, dtype: "I8", shape: scaleShape };
    return weights.symmetric ? [codes, scale] : [codes, scale, zeroPoint];
  }
  const packed: TensorSpec[] = [
    {
      name: `${module}.weight_packed`,
      dtype: "I32",
      shape: [rows, packedRowBytes(columns, weights.num_bits) / 4],
    },
    scale,
    { name: `${module}.weight_shape`, dtype: "I64", shape: [2] },
  ];
  if (weights.symmetric) return packed;
  const zeroPointRows = packedRowBytes(grid.cellsPerColumn, weights.num_bits) / 4;
  return [
    ...packed,
    { name: `${module}.weight_zero_point`, dtype: "I32", shape: [zeroPointRows, grid.cellsPerRow] },
  ];
}
