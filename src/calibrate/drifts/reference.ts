/** 2 / samples · (X̃ − X)ᵀX in float64, (n, n): the plain version that the collected drift is held against. */
export function referenceDrift(
  original: ArrayLike<number>,
  quantized: ArrayLike<number>,
  n: number,
  samples: number,
): Float64Array {
  const drift = new Float64Array(n * n);
  for (let first = 0; first < quantized.length; first += n) {
    for (let i = 0; i < n; i++) {
      const difference = (original[first + i] ?? 0) - (quantized[first + i] ?? 0);
      for (let j = 0; j < n; j++)
        drift[i * n + j] = (drift[i * n + j] ?? 0) + (2 / samples) * difference * (quantized[first + j] ?? 0);
    }
  }
  return drift;
}
