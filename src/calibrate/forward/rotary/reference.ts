import { inverseFrequencies } from "../../../model/rotary.ts";
import type { Rotary } from "../../../model/mixer-description.ts";

export interface ReferenceHeads {
  readonly heads: number;
  readonly headDim: number;
  /** First of each head's rotated dims. */
  readonly first: number;
}

/**
 * Rotates heads of x, (tokens, heads · headDim), of sequences laid end to end, in float64: the plain version that the
 * kernel is held against.
 */
export function referenceRotary(
  rotary: Rotary,
  { heads, headDim, first }: ReferenceHeads,
  x: ArrayLike<number>,
  lengths: readonly number[],
): Float64Array<ArrayBuffer> {
  const result = Float64Array.from(x);
  let row = 0;
  for (const length of lengths) {
    const frequencies = inverseFrequencies(rotary, length);
    for (let token = 0; token < length * heads; token++) {
      const position = Math.floor(token / heads);
      const base = (row * heads + token) * headDim + first;
      for (const [pair, frequency] of frequencies.entries()) {
        const at = base + (rotary.interleaved ? 2 * pair : pair);
        const other = rotary.interleaved ? at + 1 : at + rotary.dims / 2;
        const angle = position * frequency;
        const [a, b] = [x[at] ?? 0, x[other] ?? 0];
        result[at] = (a * Math.cos(angle) - b * Math.sin(angle)) * rotary.attentionFactor;
        result[other] = (b * Math.cos(angle) + a * Math.sin(angle)) * rotary.attentionFactor;
      }
    }
    row += length;
  }
  return result;
}
