// SmoothQuant's factors (arXiv 2211.10438; LLM Compressor `SmoothQuantModifier._calculate_smoothing_scales`), every operation
// rounded to the weights' dtype as it is there, where activations are of that dtype too.

import { DTYPE_BITS, type FloatDtype, roundTo, widenToFloat32 } from "../../formats/numbers/dtype.ts";
import type { SmoothQuantSettings } from "../../formats/modifiers/smoothquant.ts";

const LEAST_SCALE = Math.fround(1e-5);

export interface SmoothedInput {
  readonly dtype: FloatDtype;
  /** Smallest and largest value of each channel. */
  readonly low: Float32Array;
  readonly high: Float32Array;
  /** Largest magnitude of each channel's column, over all Linears that read it. */
  readonly weights: Float32Array;
}

/** One factor a channel: range^α / (2 · max |w|)^(1 − α), or range / log2(2 + range). */
export function smoothingScales(
  { dtype, low, high, weights }: SmoothedInput,
  { smoothing_strength, algorithm }: SmoothQuantSettings,
): Float32Array<ArrayBuffer> {
  const round = (value: number) => roundTo(dtype, value);
  // torch raises to exponents of the tensor's own dtype on the CPU.
  const strength = round(smoothing_strength);
  const rest = round(1 - smoothing_strength);
  return Float32Array.from(low, (least, channel) => {
    const range = round(round(high[channel] ?? 0) - round(least));
    const weight = 2 * (weights[channel] ?? 0);
    const scale =
      algorithm === "log_equalization"
        ? round(range / round(Math.log2(round(2 + range))))
        : weight > 0
          ? round(round(range ** strength) / round(weight ** rest))
          : range;
    return Math.max(scale, LEAST_SCALE);
  });
}

/** Raises `most` to the largest magnitude of each column of a weight, (rows, most.length) as it lies in the source. */
export function raiseColumnMagnitudes(dtype: FloatDtype, bytes: Uint8Array, most: Float32Array): void {
  const columns = most.length;
  const count = (bytes.byteLength * 8) / DTYPE_BITS[dtype];
  const aligned = bytes.slice();
  if (dtype === "F32") {
    const values = new Float32Array(aligned.buffer);
    for (let at = 0; at < count; at++) {
      const column = at % columns;
      most[column] = Math.max(most[column] ?? 0, Math.abs(values[at] ?? 0));
    }
    return;
  }
  // Magnitudes of a 16-bit float sort as their bits.
  const halves = new Uint16Array(aligned.buffer);
  const largest = new Uint16Array(columns);
  for (let start = 0; start < count; start += columns) {
    for (let column = 0; column < columns; column++) {
      const bits = (halves[start + column] ?? 0) & 0x7fff;
      if (bits > (largest[column] ?? 0)) largest[column] = bits;
    }
  }
  const magnitudes = widenToFloat32(dtype, new Uint8Array(largest.buffer));
  for (let column = 0; column < columns; column++) {
    most[column] = Math.max(most[column] ?? 0, magnitudes[column] ?? 0);
  }
}
