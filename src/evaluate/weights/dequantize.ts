// Stored codes back to float32, for schemes that onnxruntime has no operator for: (code − zero point) · scale, the products
// in float32, as MatMulNBits computes them, and not rounded to the weight's dtype.

import { invariant } from "../../errors.ts";
import { compressionFormat } from "../../formats/schemes/compression-format.ts";
import {
  type QuantizedWeight,
  readRowParts,
  readScales,
  type RowParts,
  readZeroPoints,
  visitRows,
} from "../../formats/weights/dequantize.ts";
import { isFloatDtype, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs, QuantizationScheme } from "../../formats/schemes/quantization-args.ts";
import type { StoredModel } from "./stored-model.ts";
import type { Linear } from "../../model/weight-description.ts";

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
  const weight = storedWeight(model, linear, scheme);
  const parts = await readStoredRows(model, linear, weight, firstRow, rows);
  const values = new Float32Array(rows * linear.columns);
  visitRows(weight, firstRow, rows, parts, (index, code, zeroPoint, scale) => {
    values[index] = (code - zeroPoint) * scale;
  });
  return values;
}

/** The bytes of some rows of a quantized Linear's weight. */
export async function readStoredRows(
  model: StoredModel,
  { module }: Linear,
  weight: QuantizedWeight,
  firstRow: number,
  rows: number,
): Promise<RowParts> {
  return await readRowParts(weight, firstRow, rows, async (part, range) => {
    const tensor = model.tensor(`${module}.${part}`);
    return tensor && (await model.read(tensor.name, range));
  });
}

/** What a quantized Linear's tensors hold. */
export function storedWeight(model: StoredModel, linear: Linear, scheme: QuantizedScheme): QuantizedWeight {
  const { module, rows, columns } = linear;
  const dtype = model.tensor(`${module}.weight_scale`)?.dtype;
  return {
    args: scheme.weights,
    format: compressionFormat(scheme),
    dtype: dtype && isFloatDtype(dtype) ? dtype : "BF16",
    rows,
    columns,
  };
}

/** A scale for each cell of the weight, divided by the tensor's global scale where it has one. */
export async function allScales(
  model: StoredModel,
  linear: Linear,
  scheme: QuantizedScheme,
): Promise<Float32Array<ArrayBuffer>> {
  const tensor = model.tensor(`${linear.module}.weight_scale`);
  invariant(tensor, `${linear.module} has scales`);
  const global = model.tensor(`${linear.module}.weight_global_scale`);
  const globalScale = global ? (widenToFloat32("F32", await model.read(global.name))[0] ?? null) : null;
  return readScales(storedWeight(model, linear, scheme), {
    scales: await model.read(tensor.name),
    globalScale,
  });
}

/** A zero point for each cell, or null for symmetric schemes. */
export async function allZeroPoints(
  model: StoredModel,
  linear: Linear,
  scheme: QuantizedScheme,
): Promise<Int32Array | null> {
  const tensor = scheme.weights.symmetric ? null : model.tensor(`${linear.module}.weight_zero_point`);
  return tensor && readZeroPoints(storedWeight(model, linear, scheme), await model.read(tensor.name));
}
