import { describe, expect, it } from "vitest";
import { seededRandom } from "../../testing/random.ts";
import { chooseSchemes, type SchemeUnit, sizeCurve } from "./choose-schemes.ts";

/** Units of several sizes whose losses fall as bits grow, some of them unevenly. */
function units(count: number, seed: number): SchemeUnit[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, index) => {
    const size = 1 + Math.floor(random() * 9);
    const weight = random();
    const losses = [weight, weight / 4, (weight / 4) * (0.5 + random()), 0];
    const choices = [4, 5, 8, 16].map((bits, at) => ({ bytes: size * bits, loss: losses[at] ?? 0 }));
    return { modules: [`m${index}`], choices };
  });
}

/** The least loss of all choices within a size. */
function best(all: readonly SchemeUnit[], bytes: number): number {
  const [first, ...rest] = all;
  if (!first) return 0;
  const losses = first.choices.map((choice) =>
    choice.bytes > bytes ? Number.POSITIVE_INFINITY : choice.loss + best(rest, bytes - choice.bytes),
  );
  return Math.min(...losses);
}

describe("the curve of size against loss", () => {
  it("runs from the smallest to what loses nothing, convex, and is the least loss of each of its sizes", () => {
    const all = units(5, 3);
    const curve = sizeCurve(all);
    expect(curve[0]?.schemes).toEqual([0, 0, 0, 0, 0]);
    expect(curve.at(-1)).toMatchObject({ schemes: [3, 3, 3, 3, 3] });
    expect(curve.at(-1)?.loss).toBeCloseTo(0, 12);
    const slopes = curve.slice(1).map(({ bytes, loss }, at) => {
      const before = curve[at] ?? { bytes: 0, loss: 0 };
      return (before.loss - loss) / (bytes - before.bytes);
    });
    expect(slopes).toEqual(slopes.toSorted((a, b) => b - a));
    for (const { bytes, loss } of curve) expect(loss).toBeCloseTo(best(all, bytes), 12);
  });
});

describe("a scheme for each unit", () => {
  const unit = (losses: readonly number[]): SchemeUnit => ({
    modules: ["m"],
    choices: losses.map((loss, at) => ({ bytes: [3, 4, 5, 16][at] ?? 0, loss })),
  });

  it("is one for all where a mixture of that size would save less than a tenth", () => {
    const alike = [unit([4, 1, 0.25, 0]), unit([4.4, 1.1, 0.27, 0])];
    expect(chooseSchemes(alike, 8)).toMatchObject({ schemes: [1, 1], bytes: 8 });
    const unlike = [unit([0.4, 0.1, 0.03, 0]), unit([40, 10, 2.5, 0])];
    expect(chooseSchemes(unlike, 8)).toMatchObject({ schemes: [0, 2], bytes: 8 });
    const nearly = [unit([1.4, 1, 0.6, 0]), unit([1.5, 1.02, 0.45, 0])];
    expect(chooseSchemes(nearly, 8)).toMatchObject({ schemes: [1, 1] });
  });

  it("fits the size, and is near the best that does", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const all = units(5, seed);
      const sizes = sizeCurve(all).map(({ bytes }) => bytes);
      const [least = 0, most = 0] = [sizes[0], sizes.at(-1)];
      expect(chooseSchemes(all, least - 1)).toBeNull();
      for (let bytes = least; bytes <= most; bytes += 7) {
        const chosen = chooseSchemes(all, bytes);
        expect(chosen?.bytes).toBeLessThanOrEqual(bytes);
        // What is lost beyond the best is at most one step of the hull.
        const step = Math.max(...all.map(({ choices }) => choices[0]?.loss ?? 0));
        expect(chosen?.loss).toBeLessThanOrEqual(best(all, bytes) + step);
      }
    }
  });
});
