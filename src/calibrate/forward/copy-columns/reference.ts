import type { Matrix } from "../../../gpu/matmul/matmul.ts";

type Place = Omit<Matrix, "buffer">;

/** The plain version that the kernel is held against: `into` with rows of x in its columns. */
export function referenceCopy(
  x: ArrayLike<number>,
  from: Place,
  into: Float32Array,
  to: Place & { readonly rows: number; readonly columns: number },
  index: ArrayLike<number> | null,
): Float32Array<ArrayBuffer> {
  const result = Float32Array.from(into);
  for (let row = 0; row < to.rows; row++) {
    const start = (from.offset ?? 0) + (index?.[row] ?? row) * from.stride;
    for (let column = 0; column < to.columns; column++) {
      result[(to.offset ?? 0) + row * to.stride + column] = x[start + column] ?? 0;
    }
  }
  return result;
}
