import { type DecoderDescription, rowSize } from "../../model/decoder-description.ts";

/** Σ(a − b)² and Σb² of the hidden values of rows (tokens, hidden + carried), in float64. */
export function squaredDifferences(
  a: Float32Array,
  b: Float32Array,
  description: Pick<DecoderDescription, "layers" | "hiddenSize">,
): { readonly difference: number; readonly norm: number } {
  const width = rowSize(description);
  let [difference, norm] = [0, 0];
  for (let at = 0; at < b.length; at++) {
    if (at % width >= description.hiddenSize) continue;
    const value = b[at] ?? 0;
    difference += ((a[at] ?? Number.NaN) - value) ** 2;
    norm += value ** 2;
  }
  return { difference, norm };
}
