/** cap · tanh(scale · y / cap), or scale · y, in float64: the plain version that the kernel is held against. */
export function referenceCapLogits(
  y: ArrayLike<number>,
  scale: number,
  softCap: number | null,
): Float64Array<ArrayBuffer> {
  return Float64Array.from(y, (value) =>
    softCap === null ? scale * value : softCap * Math.tanh((scale * value) / softCap),
  );
}
