// AWQ's search in plain TypeScript. Slow and obvious; the kernels must come to the same losses.
//
// Weights are (rows, columns) row-major; h is the full (columns, columns) Hessian.

import { type CellGrid, cellGrid } from "../../formats/schemes/compression-format.ts";
import { roundTo } from "../../formats/numbers/dtype.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { TensorStatistics } from "../observe/observe-weight.ts";
import {
  cellOf,
  codeValue,
  referenceCodes,
  referenceQparams,
  referenceRanges,
  type ReferenceWeight,
} from "../rtn/reference.ts";

/** Mean share of each column in its groups' largest weights (LLM Compressor `_compute_layer_means`). */
export function referenceColumnShares(
  layers: readonly { readonly weight: ReferenceWeight; readonly args: QuantizationArgs }[],
): Float64Array {
  const means = new Float64Array(layers[0]?.weight.columns ?? 0);
  const rows = layers.reduce((sum, { weight }) => sum + weight.rows, 0);
  for (const { weight, args } of layers) {
    const grid = cellGrid(args, weight.rows, weight.columns);
    const { low, high } = referenceRanges(weight, grid);
    weight.values.forEach((value, index) => {
      const cell = cellOf(weight, grid, index);
      const most = Math.max(-(low[cell] ?? 0), high[cell] ?? 0);
      const share = roundTo(weight.dtype, Math.abs(value) / roundTo(weight.dtype, Math.fround(most + 1e-6)));
      const column = index % weight.columns;
      means[column] = (means[column] ?? 0) + share / rows;
    });
  }
  return means;
}

/** A weight with its columns multiplied, as it would be folded. */
export function scaledWeight(weight: ReferenceWeight, scales: Float32Array): ReferenceWeight {
  const values = weight.values.map((value, index) =>
    roundTo(weight.dtype, Math.fround(value * (scales[index % weight.columns] ?? 1))),
  );
  return { ...weight, values };
}

/** W − Q(W · s) / s. */
export function referenceErrors(
  weight: ReferenceWeight,
  args: QuantizationArgs,
  scales: Float32Array,
  known: TensorStatistics,
): Float64Array {
  const { dtype, rows, columns } = weight;
  const grid: CellGrid = cellGrid(args, rows, columns);
  const scaled = scaledWeight(weight, scales);
  const qparams = referenceQparams(scaled, args, grid, known);
  const globalScale = known.globalScale ?? 0;
  const codes = referenceCodes(scaled, args, grid, qparams, globalScale);
  return new Float64Array(weight.values).map((value, index) => {
    const cell = cellOf(weight, grid, index);
    const local = qparams.scales[cell] ?? 1;
    const scale = globalScale === 0 ? local : Math.fround(local / globalScale);
    const number = codeValue(codes[index] ?? 0, qparams.zeroPoints[cell] ?? 0, args);
    const meaning = roundTo(dtype, number * scale);
    return value - roundTo(dtype, meaning / (scales[index % columns] ?? 1));
  });
}

/** ½ tr(E H Eᵀ). */
export function referenceLoss(errors: Float64Array, h: ArrayLike<number>, columns: number): number {
  let loss = 0;
  for (let start = 0; start < errors.length; start += columns) {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        loss += ((errors[start + i] ?? 0) * (h[i * columns + j] ?? 0) * (errors[start + j] ?? 0)) / 2;
      }
    }
  }
  return loss;
}
