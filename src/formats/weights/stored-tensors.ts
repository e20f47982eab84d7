// Which tensors a quantized Linear becomes (compressed-tensors `compression_param_names` of its compressors, and the
// parameters of `initialize_qparams`).

import {
  cellGrid,
  compressionFormat,
  hasGlobalScale,
  packedRowBytes,
  packsZeroPoints,
  scaleStorage,
} from "../schemes/compression-format.ts";
import type { Dtype, FloatDtype } from "../numbers/dtype.ts";
import {
  type CompressionFormat,
  isStaticActivation,
  type QuantizationArgs,
  type QuantizationScheme,
} from "../schemes/quantization-args.ts";
import type { TensorSpec } from "../safetensors/safetensors.ts";

/** The tensors that replace `<module>.weight` of shape (rows, columns), in no particular order. */
export function storedTensors(
  module: string,
  scheme: QuantizationScheme,
  dtype: FloatDtype,
  shape: readonly [number, number],
): TensorSpec[] {
  const { weights, input_activations } = scheme;
  if (!weights) return [];
  const parts = [
    ...codeTensors(weights, compressionFormat(scheme), shape),
    ...scaleTensors(weights, compressionFormat(scheme), dtype, shape),
    ...activationTensors("input", input_activations, dtype),
  ];
  return parts.map((part) => ({ ...part, name: `${module}.${part.name}` }));
}

function codeTensors(
  weights: QuantizationArgs,
  format: CompressionFormat,
  [rows, columns]: readonly [number, number],
): TensorSpec[] {
  if (format === "pack-quantized") {
    const words = packedRowBytes(columns, weights.num_bits) / 4;
    return [
      { name: "weight_packed", dtype: "I32", shape: [rows, words] },
      { name: "weight_shape", dtype: "I64", shape: [2] },
    ];
  }
  if (weights.type === "int") return [{ name: "weight", dtype: "I8", shape: [rows, columns] }];
  if (weights.num_bits === 8) return [{ name: "weight", dtype: "F8_E4M3", shape: [rows, columns] }];
  return [{ name: "weight_packed", dtype: "U8", shape: [rows, columns / 2] }];
}

function scaleTensors(
  weights: QuantizationArgs,
  format: CompressionFormat,
  dtype: FloatDtype,
  [rows, columns]: readonly [number, number],
): TensorSpec[] {
  const grid = cellGrid(weights, rows, columns);
  const shape = weights.strategy === "tensor" ? [1] : [grid.cellsPerColumn, grid.cellsPerRow];
  const scaleDtypes = { dtype, e4m3: "F8_E4M3", e8m0: "U8" } as const satisfies Record<string, Dtype>;
  const tensors: TensorSpec[] = [{ name: "weight_scale", dtype: scaleDtypes[scaleStorage(weights)], shape }];
  if (hasGlobalScale(weights)) tensors.push({ name: "weight_global_scale", dtype: "F32", shape: [1] });
  if (weights.symmetric) return tensors;
  if (!packsZeroPoints(weights, format)) {
    return [...tensors, { name: "weight_zero_point", dtype: "I8", shape }];
  }
  const words = packedRowBytes(grid.cellsPerColumn, weights.num_bits) / 4;
  return [...tensors, { name: "weight_zero_point", dtype: "I32", shape: [words, grid.cellsPerRow] }];
}

/**
 * The tensors that hold measured scales of activations, named by what they scale: "input" of a Linear, "k" and "v" of an
 * attention module. None for activations that are scaled while running.
 */
export function activationTensors(
  what: "input" | "k" | "v",
  args: QuantizationArgs | null,
  dtype: FloatDtype,
  heads = 1,
): TensorSpec[] {
  if (!isStaticActivation(args)) return [];
  if (hasGlobalScale(args)) return [{ name: `${what}_global_scale`, dtype: "F32", shape: [1] }];
  const shape = args.strategy === "attn_head" ? [heads, 1, 1] : [1];
  const scale: TensorSpec = { name: `${what}_scale`, dtype, shape };
  return args.symmetric ? [scale] : [scale, { name: `${what}_zero_point`, dtype: "I8", shape }];
}
