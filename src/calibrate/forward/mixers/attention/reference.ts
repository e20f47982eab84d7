import type { Attention } from "../../../../model/decoder-description.ts";

/**
 * Attention of sequences laid end to end, in float64, with the whole row of scores: the plain version that the kernel is
 * held against. `qkv` is (tokens, (heads + 2 kvHeads) · headDim).
 * @returns (tokens, heads · headDim)
 */
export function referenceAttention(
  attention: Attention,
  qkv: ArrayLike<number>,
  lengths: readonly number[],
): Float64Array<ArrayBuffer> {
  const { heads, kvHeads, headDim, scale, softCap, slidingWindow } = attention;
  const stride = (heads + 2 * kvHeads) * headDim;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const result = new Float64Array(tokens * heads * headDim);
  let start = 0;
  for (const length of lengths) {
    for (let row = start; row < start + length; row++) {
      const first = Math.max(start, row + 1 - (slidingWindow ?? length));
      for (let head = 0; head < heads; head++) {
        const key = (heads + Math.floor(head / (heads / kvHeads))) * headDim;
        const value = key + kvHeads * headDim;
        const at = (token: number, column: number) => qkv[token * stride + column] ?? 0;
        const scores = Array.from({ length: row - first + 1 }, (_, index) => {
          let dot = 0;
          for (let d = 0; d < headDim; d++) {
            dot += at(row, head * headDim + d) * at(first + index, key + d);
          }
          return softCap === null ? dot * scale : softCap * Math.tanh((dot * scale) / softCap);
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((total, weight) => total + weight, 0);
        for (let d = 0; d < headDim; d++) {
          const weighted = weights.reduce(
            (total, weight, index) => total + weight * at(first + index, value + d),
            0,
          );
          result[(row * heads + head) * headDim + d] = weighted / sum;
        }
      }
    }
    start += length;
  }
  return result;
}
