// The scales that AWQ tries for a mapping (arXiv 2306.00978; LLM Compressor `AWQModifier._compute_best_scale`).

import type { AwqSettings } from "../../formats/modifiers/awq.ts";

export interface Candidate {
  /** 0 leaves activations alone, 1 evens them out. */
  readonly ratio: number;
  /** True if the weights' magnitudes count, too. */
  readonly duo: boolean;
}

const LEAST_SCALE = 1e-4;

/** The grid, in the order in which it is searched; the first one changes nothing. */
export function candidates({ duo_scaling, n_grid }: AwqSettings): Candidate[] {
  if (duo_scaling === true) {
    return [{ ratio: 0, duo: false }, ...ratios(n_grid - 1).map((ratio) => ({ ratio, duo: true }))];
  }
  if (duo_scaling === false) return ratios(n_grid).map((ratio) => ({ ratio, duo: false }));
  return ratios(Math.floor(n_grid / 2)).flatMap((ratio) => [
    { ratio, duo: false },
    { ratio, duo: true },
  ]);
}

/** 0 to 1 in `count` values. */
function ratios(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index / (count - 1));
}

export interface MappingMeans {
  /** Mean magnitude of each channel of the input. */
  readonly x: Float32Array;
  /** Mean share of each column in its groups' largest weights, over all Linears that are quantized. */
  readonly w: Float64Array;
}

/**
 * x^r / (w^(1 − r) + 1e-4), or x^r, at least 1e-4; over the root of its extremes' product, so that they lie around 1. What is not
 * finite is 1. LLM Compressor computes in float64 where weights count, else in float32.
 */
export function candidateScales(
  { x, w }: MappingMeans,
  { ratio, duo }: Candidate,
): Float32Array<ArrayBuffer> {
  const round = duo ? (value: number) => value : Math.fround;
  const least = round(LEAST_SCALE);
  // Plain loops: from() with a callback takes several times as long.
  const raw = new Float64Array(x.length);
  let [low, high] = [Number.POSITIVE_INFINITY, 0];
  for (let channel = 0; channel < x.length; channel++) {
    const power = Math.fround((x[channel] ?? 0) ** ratio);
    const scale = duo ? power / ((w[channel] ?? 0) ** (1 - ratio) + LEAST_SCALE) : power;
    const own = Math.max(scale, least);
    raw[channel] = own;
    low = Math.min(low, own);
    high = Math.max(high, own);
  }
  const middle = round(Math.sqrt(round(high * low)));
  const scales = new Float32Array(x.length);
  for (let channel = 0; channel < x.length; channel++) {
    const normal = round((raw[channel] ?? 0) / middle);
    scales[channel] = Number.isFinite(normal) ? normal : 1;
  }
  return scales;
}
