/** x · factor in float64: the plain version that the kernel is held against. */
export function referenceScale(x: ArrayLike<number>, factor: number): Float64Array<ArrayBuffer> {
  return new Float64Array(x).map((value) => value * factor);
}
