// What `predictionGraph` computes, in float64 on the CPU: for WebAssembly, whose exp is off by 1e-5 in onnxruntime-web 1.30,
// and whose logits are here anyway.

/**
 * A row of `PREDICTION_COLUMNS` for each token of logits (tokens, columns); without `other`, the first three of them.
 * @param targets a column of each token's logits
 */
export function predictionColumns(
  own: Float32Array,
  other: Float32Array | null,
  targets: ArrayLike<number>,
): Float64Array {
  const columns = own.length / targets.length;
  const rows = Array.from(targets, (target, row) => {
    const p = own.subarray(row * columns, (row + 1) * columns);
    const ownRow = summarize(p, target);
    if (!other) return ownRow;
    const q = other.subarray(row * columns, (row + 1) * columns);
    const otherRow = summarize(q, target);
    return [...ownRow, ...otherRow, ...compare(p, q, otherRow[0] ?? 0)];
  });
  return Float64Array.from(rows.flat());
}

/** The largest logit, Σ exp(logit − largest), and the target's. */
function summarize(logits: Float32Array, target: number): number[] {
  let largest = -Infinity;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return [largest, sum, logits[target] ?? Number.NaN];
}

/** Σ exp(other − its largest) · (other − own), and the own logit where the other is largest. */
function compare(own: Float32Array, other: Float32Array, largest: number): number[] {
  let difference = 0;
  let ownAtOtherBest = -Infinity;
  for (const [at, logit] of other.entries()) {
    const ownLogit = own[at] ?? 0;
    difference += Math.exp(logit - largest) * (logit - ownLogit);
    if (logit === largest && ownLogit > ownAtOtherBest) ownAtOtherBest = ownLogit;
  }
  return [difference, ownAtOtherBest];
}
