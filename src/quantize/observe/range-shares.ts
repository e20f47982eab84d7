// What the observer `hessian_mse` tries: shares of each cell's observed range.

export const RANGE_SHARES = { steps: 20, first: 1.03, step: 0.03 } as const;

/**
 * Added to each column's importance, which is 1 on average, as GPTQ damps the Hessian: no group of columns that the text
 * did not reach is left without a measure.
 */
export const IMPORTANCE_DAMPING = 0.01;

/** The share of a step, from 1.03 down to 0.46. */
export function rangeShare(step: number): number {
  return RANGE_SHARES.first - step * RANGE_SHARES.step;
}
