// What logits of a part of the vocabulary come to, in float64: WebAssembly's lie in memory, and its own exp is off by 1e-5 in
// onnxruntime-web 1.30.

import type { ComparedPart, PartSummary } from "./token-statistics.ts";

/** @param target the column of the token that came; null if it is in another part */
export function summarizeLogits(logits: Float32Array, target: number | null): PartSummary {
  let largest = -Infinity;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return { largest, sum, target: target === null ? null : (logits[target] ?? Number.NaN) };
}

/** The same of two models' logits of one token, and how they differ. */
export function compareLogits(own: Float32Array, other: Float32Array, target: number | null): ComparedPart {
  const summary = summarizeLogits(other, target);
  let difference = 0;
  let ownAtOtherBest = -Infinity;
  for (const [at, logit] of other.entries()) {
    const ownLogit = own[at] ?? 0;
    difference += Math.exp(logit - summary.largest) * (logit - ownLogit);
    if (logit === summary.largest && ownLogit > ownAtOtherBest) ownAtOtherBest = ownLogit;
  }
  return { own: summarizeLogits(own, target), other: summary, difference, ownAtOtherBest };
}
