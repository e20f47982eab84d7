import { describe, expect, it } from "vitest";
import { sampleToken, seededRandom } from "./sample-token.ts";

const logits = Float32Array.from([0.5, 0.3, 0.2], Math.log);

describe("sampling", () => {
  it("takes the likeliest token at temperature 0", () => {
    expect(sampleToken(logits, { temperature: 0, top_p: 1 }, () => 0.99)).toBe(0);
  });

  it("draws tokens as often as they are likely", () => {
    const random = seededRandom(7);
    const counts = [0, 0, 0];
    for (let draw = 0; draw < 10_000; draw++) {
      const token = sampleToken(logits, { temperature: 1, top_p: 1 }, random);
      counts[token] = (counts[token] ?? 0) + 1;
    }
    for (const [token, share] of [0.5, 0.3, 0.2].entries()) {
      expect(Math.abs((counts[token] ?? 0) / 10_000 - share)).toBeLessThan(0.02);
    }
  });

  it("leaves out what is beyond top_p", () => {
    expect(sampleToken(logits, { temperature: 1, top_p: 0.6 }, () => 0.999)).toBe(1);
    expect(sampleToken(logits, { temperature: 1, top_p: 0.5 }, () => 0.999)).toBe(0);
  });

  it("repeats itself with the same seed", () => {
    const draw = (seed: number) => Array.from({ length: 5 }, seededRandom(seed));
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });
});
