/** y + scale · bias in every row, in float64: the plain version that the kernel is held against. */
export function referenceAddBias(
  y: ArrayLike<number>,
  bias: ArrayLike<number>,
  scale: number,
): Float64Array<ArrayBuffer> {
  return new Float64Array(y).map((value, index) => value + scale * (bias[index % bias.length] ?? 0));
}
