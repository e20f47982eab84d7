import type { ScanShape } from "./scan-layout.ts";

export interface ReferenceScan {
  readonly shape: ScanShape;
  /** (tokens, keyHeads · keyDim) */
  readonly queries: ArrayLike<number>;
  readonly keys: ArrayLike<number>;
  /** (tokens, heads · valueDim) */
  readonly values: ArrayLike<number>;
  /** (tokens, heads): logarithms of decays, and factors of what is written. */
  readonly decays: ArrayLike<number>;
  readonly factors: ArrayLike<number>;
  /** One factor a head, or null. */
  readonly skip: ArrayLike<number> | null;
}

/**
 * The recurrence token by token in float64, for sequences laid end to end, each from a state of zeros: the plain version
 * that the chunked kernels are held against.
 * @returns (tokens, heads · valueDim)
 */
export function referenceScan(
  { shape, queries, keys, values, decays, factors, skip }: ReferenceScan,
  lengths: readonly number[],
): Float64Array<ArrayBuffer> {
  const { heads, keyHeads, keyDim, valueDim, delta } = shape;
  const result = new Float64Array(values.length);
  for (let head = 0; head < heads; head++) {
    const keyHead = Math.floor(head / (heads / keyHeads));
    const vector = (x: ArrayLike<number>, token: number) =>
      Array.from({ length: keyDim }, (_, dim) => x[(token * keyHeads + keyHead) * keyDim + dim] ?? 0);
    let token = 0;
    for (const length of lengths) {
      const states = Array.from({ length: valueDim }, () => new Float64Array(keyDim));
      for (const end = token + length; token < end; token++) {
        const [key, query] = [vector(keys, token), vector(queries, token)];
        const decay = Math.exp(decays[token * heads + head] ?? 0);
        const factor = factors[token * heads + head] ?? 0;
        for (const [column, state] of states.entries()) {
          const at = (token * heads + head) * valueDim + column;
          const value = values[at] ?? 0;
          const decayed = state.map((each) => each * decay);
          const written = factor * (delta ? value - dot(decayed, key) : value);
          state.set(decayed.map((each, dim) => each + (key[dim] ?? 0) * written));
          result[at] = dot(state, query) + (skip?.[head] ?? 0) * value;
        }
      }
    }
  }
  return result;
}

function dot(a: Float64Array, b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}

export interface ReferenceGates {
  readonly timeStep: number;
  /** Null for Mamba-2. */
  readonly beta: number | null;
  readonly decay: number;
  readonly bias: number;
  readonly limits?: { readonly least: number; readonly largest: number };
}

/** The gates of one token and head in float64. */
export function referenceGates({ timeStep, beta, decay, bias, limits }: ReferenceGates) {
  const step = Math.log1p(Math.exp(timeStep + bias));
  const limited = Math.min(Math.max(step, limits?.least ?? 0), limits?.largest ?? Number.POSITIVE_INFINITY);
  return {
    decay: -Math.exp(decay) * limited,
    factor: beta === null ? limited : 1 / (1 + Math.exp(-beta)),
  };
}
