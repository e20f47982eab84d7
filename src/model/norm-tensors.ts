import type { Norm } from "./decoder-description.ts";

/** A tensor's name, and the shape that it must have. */
export type TensorShape = readonly [string, readonly number[]];

/** The tensors that a norm reads: its weight, and its bias if it has one. */
export function normTensors({ weight, weightSize, bias, size }: Norm): readonly TensorShape[] {
  return bias
    ? [
        [weight, [weightSize]],
        [bias, [size]],
      ]
    : [[weight, [weightSize]]];
}
