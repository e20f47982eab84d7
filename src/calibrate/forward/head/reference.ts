/** cap · tanh(scale · y / cap), or scale · y, in float64: the plain version that the kernel is held against. */
export function referenceCapLogits(
  y: ArrayLike<number>,
  scale: number,
  softCap: number | null,
): Float64Array<ArrayBuffer> {
  return new Float64Array(y).map((value) =>
    softCap === null ? scale * value : softCap * Math.tanh((scale * value) / softCap),
  );
}

/** What `tokenPredictions` tells of one token's logits of a run of the vocabulary, in float64. */
export function referencePrediction(
  own: readonly number[],
  other: readonly number[],
  target: number,
): number[] {
  const [largest, otherLargest] = [Math.max(...own), Math.max(...other)];
  const sumOf = (logits: readonly number[], most: number) =>
    logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
  const difference = other.reduce(
    (sum, logit, at) => sum + Math.exp(logit - otherLargest) * (logit - (own[at] ?? 0)),
    0,
  );
  return [
    largest,
    sumOf(own, largest),
    own[target] ?? 0,
    otherLargest,
    sumOf(other, otherLargest),
    other[target] ?? 0,
    difference,
    own[other.indexOf(otherLargest)] ?? 0,
  ];
}
