import { describe, expect, it } from "vitest";
import { addDivergence, addLosses, greedyToken, logSumExp, noDivergence, noLosses } from "./token-losses.ts";

describe("losses of tokens", () => {
  it("are the logarithm of the vocabulary for even logits", () => {
    const losses = noLosses();
    addLosses(losses, new Float32Array(2 * 8), [3, 7]);
    expect(losses.tokens).toBe(2);
    expect(losses.loss / 2).toBeCloseTo(Math.log(8), 12);
  });

  it("do not overflow with large logits", () => {
    expect(logSumExp(Float32Array.of(1000, 1000))).toBeCloseTo(1000 + Math.log(2), 9);
  });

  it("take the first of equal logits as greedy", () => {
    expect(greedyToken(Float32Array.of(1, 5, 5))).toBe(1);
  });
});

describe("divergence", () => {
  it("is nothing between equal models", () => {
    const divergence = noDivergence();
    const logits = Float32Array.of(1, 2, 3, 3, 2, 1);
    addDivergence(divergence, logits, logits, 2);
    expect(divergence).toEqual({ tokens: 2, kl: 0, worstKl: 0, equalGreedy: 2 });
  });

  it("is the sum of p log(p / q)", () => {
    const divergence = noDivergence();
    const [p, q] = [
      [0.5, 0.5],
      [0.25, 0.75],
    ] as const;
    addDivergence(divergence, Float32Array.from(p, Math.log), Float32Array.from(q, Math.log), 1);
    const expected = 0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75);
    expect(divergence.kl).toBeCloseTo(expected, 6);
    expect(divergence.worstKl).toBe(divergence.kl);
    expect(divergence.equalGreedy).toBe(0);
  });
});
