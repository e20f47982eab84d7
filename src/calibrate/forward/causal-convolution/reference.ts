export interface ReferenceConvolution {
  readonly channels: number;
  readonly taps: number;
  /** (channels, taps), the token itself last. */
  readonly weight: ArrayLike<number>;
  readonly bias: ArrayLike<number> | null;
  readonly silu: boolean;
}

/**
 * The causal convolution of each column of x, (tokens, channels), along sequences laid end to end, in float64: the plain
 * version that the kernel is held against.
 */
export function referenceConvolution(
  { channels, taps, weight, bias, silu }: ReferenceConvolution,
  x: ArrayLike<number>,
  lengths: readonly number[],
): Float64Array<ArrayBuffer> {
  const result = new Float64Array(x.length);
  let start = 0;
  for (const length of lengths) {
    for (let at = start * channels; at < (start + length) * channels; at++) {
      const channel = at % channels;
      let sum = bias?.[channel] ?? 0;
      for (let tap = 0; tap < taps; tap++) {
        const from = at - (taps - 1 - tap) * channels;
        if (from >= start * channels) sum += (weight[channel * taps + tap] ?? 0) * (x[from] ?? 0);
      }
      result[at] = silu ? sum / (1 + Math.exp(-sum)) : sum;
    }
    start += length;
  }
  return result;
}
