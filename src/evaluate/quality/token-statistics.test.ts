import { describe, expect, it } from "vitest";
import {
  addComparedPart,
  type ComparedPrediction,
  divergenceOf,
  isEqualGreedy,
  lossOf,
  type PartSummary,
  startPrediction,
  totalsOf,
} from "./token-statistics.ts";

/** What a graph tells of logits [first, end), with the token that came at `target`. */
function summary(logits: readonly number[], target: number, [first, end]: readonly [number, number]) {
  const part = logits.slice(first, end);
  const largest = Math.max(...part);
  const sum = part.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  const isHere = target >= first && target < end;
  return { largest, sum, target: isHere ? (logits[target] ?? 0) : null } satisfies PartSummary;
}

function predict(
  own: readonly number[],
  other: readonly number[],
  target: number,
  parts: readonly (readonly [number, number])[],
): ComparedPrediction {
  const prediction = startPrediction();
  for (const part of parts) {
    const [first, end] = part;
    const ownPart = own.slice(first, end);
    const otherPart = other.slice(first, end);
    const otherSummary = summary(other, target, part);
    const difference = otherPart.reduce(
      (total, logit, at) => total + Math.exp(logit - otherSummary.largest) * (logit - (ownPart[at] ?? 0)),
      0,
    );
    addComparedPart(prediction, {
      own: summary(own, target, part),
      other: otherSummary,
      difference,
      ownAtOtherBest: ownPart[otherPart.indexOf(otherSummary.largest)] ?? 0,
    });
  }
  return prediction;
}

const P = [0.1, 2, -3, 5, 4.5, 0, 1, -7];
const Q = [0.3, 1.5, -2, 4.9, 5.2, 0, 1, 8];

function softmax(logits: readonly number[]): number[] {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  return logits.map((logit) => Math.exp(logit) / sum);
}

describe("predictions of a token", () => {
  it.each([
    { parts: [[0, 8]] as const },
    {
      parts: [
        [0, 3],
        [3, 5],
        [5, 8],
      ] as const,
    },
  ])("are what the definitions say, in $parts.length parts of the vocabulary", ({ parts }) => {
    const prediction = predict(Q, P, 4, parts);
    const [p, q] = [softmax(P), softmax(Q)];
    const kl = p.reduce((total, share, at) => total + share * Math.log(share / (q[at] ?? 0)), 0);
    expect(lossOf(prediction.own)).toBeCloseTo(-Math.log(q[4] ?? 0), 12);
    expect(lossOf(prediction.other)).toBeCloseTo(-Math.log(p[4] ?? 0), 12);
    expect(divergenceOf(prediction)).toBeCloseTo(kl, 12);
    expect(isEqualGreedy(prediction)).toBe(false);
  });

  it("do not diverge between equal models", () => {
    const prediction = predict(P, P, 1, [
      [0, 5],
      [5, 8],
    ]);
    expect(divergenceOf(prediction)).toBe(0);
    expect(isEqualGreedy(prediction)).toBe(true);
  });

  it("prefer the same token even where its logits differ", () => {
    const shifted = P.map((logit) => 2 * logit + 3);
    const prediction = predict(shifted, P, 0, [
      [0, 4],
      [4, 8],
    ]);
    expect(isEqualGreedy(prediction)).toBe(true);
  });

  it("do not overflow with large logits", () => {
    const prediction = predict([1000, 1000, -1000], [1000, 1000, -1000], 0, [
      [0, 2],
      [2, 3],
    ]);
    expect(lossOf(prediction.own)).toBeCloseTo(Math.log(2), 12);
  });

  it("sum up, with the worst divergence", () => {
    const own = predict(Q, P, 4, [[0, 8]]);
    const totals = totalsOf([own, predict(P, P, 4, [[0, 8]])], true);
    const kl = divergenceOf(own);
    expect(totals.divergence).toEqual({ tokens: 2, kl, worstKl: kl, equalGreedy: 1 });
    expect(totals.model.loss).toBeCloseTo(lossOf(own.own) + lossOf(own.other), 12);
    expect(totalsOf([own], false)).toMatchObject({ original: null, divergence: null });
  });
});
