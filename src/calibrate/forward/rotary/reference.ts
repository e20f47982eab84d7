import type { Attention, Rotary } from "../../../model/decoder-description.ts";
import { inverseFrequencies } from "../../../model/rotary.ts";

/**
 * Rotates query and key heads of `qkv`, (tokens, (heads + 2 kvHeads) · headDim), of sequences laid end to end, in
 * float64: the plain version that the kernel is held against.
 */
export function referenceRotary(
  attention: Attention & { readonly rotary: Rotary },
  qkv: ArrayLike<number>,
  lengths: readonly number[],
): Float64Array<ArrayBuffer> {
  const { heads, kvHeads, headDim, rotary } = attention;
  const result = Float64Array.from(qkv);
  const stride = (heads + 2 * kvHeads) * headDim;
  let row = 0;
  for (const length of lengths) {
    const frequencies = inverseFrequencies(rotary, length);
    for (let position = 0; position < length; position++, row++) {
      for (let head = 0; head < heads + kvHeads; head++) {
        for (const [pair, frequency] of frequencies.entries()) {
          const base = row * stride + head * headDim;
          const at = base + (rotary.interleaved ? 2 * pair : pair);
          const other = rotary.interleaved ? at + 1 : at + rotary.dims / 2;
          const angle = position * frequency;
          const [a, b] = [qkv[at] ?? 0, qkv[other] ?? 0];
          result[at] = (a * Math.cos(angle) - b * Math.sin(angle)) * rotary.attentionFactor;
          result[other] = (b * Math.cos(angle) + a * Math.sin(angle)) * rotary.attentionFactor;
        }
      }
    }
  }
  return result;
}
