import type { Norm } from "./weight-description.ts";

/** A tensor's name, and the shape that it must have. */
export type TensorShape = readonly [string, readonly number[]];

/** The tensors that a norm reads: its weight and its bias, if it has them; none where there is no norm. */
export function normTensors(norm: Norm | null): readonly TensorShape[] {
  if (!norm) return [];
  const { weight, weightSize, bias, size } = norm;
  return [
    ...(weight === null ? [] : [vectorShape(weight, weightSize)]),
    ...(bias === null ? [] : [vectorShape(bias, size)]),
  ];
}

export function vectorShape(name: string, size: number): TensorShape {
  return [name, [size]];
}
