// In which of compressed-tensors' formats a Linear is stored (compressed-tensors `compressors/format.py`), how each code
// lies in it, and which weights share a scale.

import { RecipeError } from "../../errors.ts";
import {
  type CompressionFormat,
  hasMxScales,
  type QuantizationArgs,
  type QuantizationScheme,
} from "./quantization-args.ts";

/** How the code of one weight is stored. */
export interface CodeStorage {
  readonly kind: "int" | "e4m3" | "e2m1";
  /** Bits that a code takes in the file. */
  readonly storedBits: number;
  /** Added to a code before it is stored: pack-quantized stores unsigned values. */
  readonly storedOffset: number;
  /** True if each row is padded to whole 32-bit words; false if codes follow each other without padding. */
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
 * The format of a scheme: what the recipe says, or what the library chooses, with one exception. Integer weights with
 * float activations (W4AFP8) are packed, because vLLM's kernel loads nothing else; the library writes a byte for each.
 * @throws RecipeError for a scheme that quantizes no weights.
 */
export function compressionFormat(scheme: QuantizationScheme): CompressionFormat {
  const { weights, input_activations: activations, format } = scheme;
  if (!weights) throw new RecipeError("This scheme quantizes no weights; there is nothing to compress.");
  if (format) return format;
  if (weights.type === "int") return activations?.type === "int" ? "int-quantized" : "pack-quantized";
  if (weights.num_bits === 4)
    return weights.group_size === 32 ? "mxfp4-pack-quantized" : "nvfp4-pack-quantized";
  if (hasMxScales(weights)) return "mxfp8-quantized";
  return activations ? "float-quantized" : "naive-quantized";
}

export function codeStorage(args: QuantizationArgs, format: CompressionFormat): CodeStorage {
  if (format === "pack-quantized") {
    const storedOffset = 2 ** (args.num_bits - 1);
    return { kind: "int", storedBits: args.num_bits, storedOffset, rowsPadded: true };
  }
  if (args.type === "int") return { kind: "int", storedBits: 8, storedOffset: 0, rowsPadded: false };
  const kind = args.num_bits === 4 ? "e2m1" : "e4m3";
  return { kind, storedBits: args.num_bits, storedOffset: 0, rowsPadded: false };
}

/** How scales lie in the file: in the weight's dtype, as e4m3 (NVFP4), or as powers of two in E8M0 bytes (MX). */
export function scaleStorage(args: QuantizationArgs): "dtype" | "e4m3" | "e8m0" {
  if (args.scale_dtype === "torch.float8_e4m3fn") return "e4m3";
  return hasMxScales(args) ? "e8m0" : "dtype";
}

/** True if a scale of the whole tensor stands beside those of its groups (NVFP4). */
export function hasGlobalScale(args: QuantizationArgs): boolean {
  return args.strategy === "tensor_group";
}

/** True if pack-quantized packs the zero points too; with the other strategies they stay one byte each. */
export function packsZeroPoints(args: QuantizationArgs, format: CompressionFormat): boolean {
  return format === "pack-quantized" && (args.strategy === "group" || args.strategy === "channel");
}

/**
 * Divides a weight of (rows, columns) into cells.
 * @throws RecipeError if the columns are not a multiple of the group size.
 */
export function cellGrid(args: QuantizationArgs, rows: number, columns: number): CellGrid {
  const [cellRows, cellColumns] = cellSize(args, rows, columns);
  if (isGrouped(args) && columns % cellColumns !== 0) {
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

/** True for strategies whose groups must divide the columns. */
export function isGrouped(args: QuantizationArgs): boolean {
  return args.strategy === "group" || args.strategy === "tensor_group";
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
    case "attn_head":
      throw new RecipeError(
        `The strategy "${args.strategy}" is for activations; weights take tensor, channel, group, tensor_group or block.`,
      );
  }
}

/** Bytes of one packed row, padded to whole words. */
export function packedRowBytes(columns: number, bits: number): number {
  return Math.ceil((columns * bits) / 32) * 4;
}
