import type { Norm } from "../../../model/weight-description.ts";

/** norm(x) of rows of values in float64: the plain version that the kernel is held against. */
export function referenceNorm(
  norm: Norm,
  x: ArrayLike<number>,
  weight: ArrayLike<number> | null,
  bias: ArrayLike<number> | null,
): Float64Array<ArrayBuffer> {
  const result = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += norm.size) {
    const group = new Float64Array(norm.size).map((_, index) => x[start + index] ?? 0);
    const mean = norm.kind === "layer" ? average(group) : 0;
    const deviation = Math.sqrt(average(group.map((value) => (value - mean) ** 2)) + norm.eps);
    for (let index = 0; index < norm.size; index++) {
      const value = group[index] ?? 0;
      const factor = weight ? (weight[(start + index) % norm.weightSize] ?? 0) + norm.weightOffset : 1;
      result[start + index] = ((value - mean) / deviation) * factor + (bias?.[index] ?? 0);
    }
  }
  return result;
}

function average(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
