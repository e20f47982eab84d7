import type { Linear, Norm } from "../../../model/weight-description.ts";

/** What a plain float64 mixer gives: what its kernels together are held against. */
export interface ReferenceMixer {
  /** Input of the output Linear, (tokens, columns). */
  readonly values: Float64Array;
  /** Keys and values as a cache would store them, (tokens, kvHeads · headDim); null for mixers without. */
  readonly cache: { readonly keys: Float64Array; readonly values: Float64Array } | null;
}

/** What a plain float64 mixer is made of. */
export interface MixerSteps {
  /** x Wᵀ + b */
  apply(linear: Linear, x: Float64Array): Float64Array;
  norm(norm: Norm | null, x: Float64Array): Float64Array;
  vector(tensor: string): Float32Array;
  /** What rows carry from a column on, (tokens, count): keys and values that an earlier layer has handed on. */
  carried(column: number, count: number): Float64Array;
  /** Tokens of each sequence, laid end to end. */
  readonly lengths: readonly number[];
}
