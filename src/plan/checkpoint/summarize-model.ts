import { isFloatDtype } from "../../formats/numbers/dtype.ts";
import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import type { SourceTensor } from "./read-headers.ts";
import type { LinearClasses } from "../../model/linear-classes.ts";
import { linearOf } from "./find-linears.ts";

export interface TensorTotals {
  /** Elements of all floating-point tensors. */
  readonly parameters: number;
  readonly dtypes: readonly { readonly dtype: string; readonly parameters: number }[];
  /** Decoder layers: distinct numbers after the longest-repeated prefix ("model.layers"). */
  readonly layers: number;
  readonly weightBytes: number;
  readonly shards: number;
  readonly linears: number;
}

/** Counts what a model's headers say. */
export function summarizeTensors(tensors: readonly SourceTensor[], classes: LinearClasses): TensorTotals {
  const byDtype = new Map<string, number>();
  const layersByPrefix = new Map<string, Set<string>>();
  for (const tensor of tensors) {
    byDtype.set(tensor.dtype, (byDtype.get(tensor.dtype) ?? 0) + elements(tensor));
    const match = /^((?:[^.]+\.)*?)(\d+)\./.exec(tensor.name);
    if (match) {
      const [, prefix = "", number = ""] = match;
      const numbers = layersByPrefix.get(prefix) ?? new Set();
      layersByPrefix.set(prefix, numbers.add(number));
    }
  }
  const float = tensors.filter(({ dtype }) => isFloatDtype(dtype));
  return {
    parameters: float.reduce((sum, tensor) => sum + elements(tensor), 0),
    dtypes: [...byDtype]
      .map(([dtype, parameters]) => ({ dtype, parameters }))
      .toSorted((a, b) => b.parameters - a.parameters),
    layers: Math.max(0, ...[...layersByPrefix.values()].map((numbers) => numbers.size)),
    weightBytes: tensors.reduce((sum, { start, end }) => sum + end - start, 0),
    shards: new Set(tensors.map(({ file }) => file)).size,
    linears: tensors.filter((tensor) => linearOf(tensor, classes) !== null).length,
  };
}

export function elements({ shape }: Pick<TensorSpec, "shape">): number {
  return shape.reduce((product, size) => product * size, 1);
}
