import type { Attending, HeadColumns } from "./attend.ts";

/**
 * Attention of sequences laid end to end, in float64, with the whole row of scores: the plain version that the kernel is
 * held against. `qkv` is (tokens, columns.stride).
 * @returns (tokens, heads · valueDim)
 */
export function referenceAttention(
  attention: Attending,
  qkv: ArrayLike<number>,
  lengths: readonly number[],
  columns: HeadColumns,
  sinks: ArrayLike<number> | null = null,
): Float64Array<ArrayBuffer> {
  const { heads, kvHeads, headDim, valueDim, valueScale, slidingWindow, chunk } = attention;
  const { stride, ownDim } = columns;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const result = new Float64Array(tokens * heads * valueDim);
  let start = 0;
  for (const length of lengths) {
    for (let row = start; row < start + length; row++) {
      const position = row - start;
      const inChunk = chunk === null ? 0 : position - (position % chunk);
      const first = start + Math.max(0, inChunk, position + 1 - (slidingWindow ?? length));
      for (let head = 0; head < heads; head++) {
        const kvHead = Math.floor(head / (heads / kvHeads));
        const key = columns.keys + kvHead * columns.keyStride;
        const value = columns.values + kvHead * columns.valueStride;
        const at = (token: number, column: number) => qkv[token * stride + column] ?? 0;
        const scores = Array.from({ length: row - first + 1 }, (_, index) => {
          const token = first + index;
          let dot = 0;
          for (let d = 0; d < headDim; d++) {
            const place = d < ownDim ? key + d : columns.sharedKeys + d - ownDim;
            dot += at(row, head * headDim + d) * at(token, place);
          }
          return scoreOf(attention, dot, position);
        });
        const sink = sinks?.[head] ?? Number.NEGATIVE_INFINITY;
        const largest = Math.max(...scores, sink);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((total, weight) => total + weight, Math.exp(sink - largest));
        for (let d = 0; d < valueDim; d++) {
          const weighted = weights.reduce(
            (total, weight, index) => total + weight * at(first + index, value + d),
            0,
          );
          result[(row * heads + head) * valueDim + d] = (valueScale * weighted) / sum;
        }
      }
    }
    start += length;
  }
  return result;
}

function scoreOf({ scale, softCap, temperature }: Attending, dot: number, position: number): number {
  const { slope = 0, every = 1, offset = 0 } = temperature ?? {};
  const score = dot * scale * (1 + slope * Math.log(1 + Math.floor((position + offset) / every)));
  return softCap === null ? score : softCap * Math.tanh(score / softCap);
}
