import { describe, expect, it } from "vitest";
import { createWorkRates, type DispatchedWork, TARGET_MS } from "./work-rates.ts";

/** A GPU on which a dispatch takes a while however small it is. */
function millisecondsOf(dispatches: readonly DispatchedWork[], unitsPerMs: number, eachMs: number): number {
  return dispatches.reduce((sum, { work }) => sum + eachMs + work / unitsPerMs, 0);
}

describe("createWorkRates", () => {
  it("finds the largest dispatch that fits into a submit, from a cautious first guess", () => {
    for (const unitsPerMs of [1e4, 1e6, 1e8, 4e10]) {
      const rates = createWorkRates();
      const taken: number[] = [];
      for (let turn = 0; turn < 40; turn++) {
        const dispatches = [{ kernel: "product", variant: "", work: rates.limit("product") }];
        const milliseconds = millisecondsOf(dispatches, unitsPerMs, 0.01);
        taken.push(milliseconds);
        rates.learn(dispatches, milliseconds);
      }
      expect(taken.at(-1)).toBeGreaterThan(TARGET_MS / 5);
      expect(Math.max(...taken.slice(1))).toBeLessThan(2 * TARGET_MS + 5e6 / unitsPerMs / 4);
    }
  });

  it("knows that many small dispatches take longer than one of the same work", () => {
    const rates = createWorkRates();
    const small = { kernel: "product", variant: "", work: 1e6 };
    const large = { kernel: "product", variant: "", work: 1e11 };
    for (let turn = 0; turn < 20; turn++) {
      rates.learn([large], millisecondsOf([large], 1e10, 0.5));
      rates.learn([small, small, small], millisecondsOf([small, small, small], 1e10, 0.5));
    }
    expect(rates.predict(large)).toBeCloseTo(10.5, 1);
    expect(rates.predict(small)).toBeCloseTo(0.5, 2);
    expect(rates.limit("product")).toBeGreaterThan(1e11);
  });

  it("gives a kernel its share of a submit that others were in", () => {
    const rates = createWorkRates();
    const fast = { kernel: "fast", variant: "", work: 1e6 };
    const slow = { kernel: "slow", variant: "", work: 1e6 };
    rates.learn([fast], 1);
    rates.learn([slow], 9);
    for (let turn = 0; turn < 30; turn++) rates.learn([fast, slow], 20);
    expect(rates.predict(fast) + rates.predict(slow)).toBeCloseTo(20, 1);
    expect(rates.predict(slow)).toBeGreaterThan(9 * rates.predict(fast));
  });

  it("keeps away from a size that was too slow, and tries it again after a while", () => {
    const rates = createWorkRates();
    const large = { kernel: "product", variant: "", work: 1e10 };
    rates.learn([large], 10);
    for (let turn = 0; turn < 6; turn++) rates.learn([large], 200);
    const careful = rates.limit("product");
    expect(careful).toBeLessThan(1e10);
    for (let turn = 0; turn < 300; turn++) {
      const dispatch = { kernel: "product", variant: "", work: rates.limit("product") };
      rates.learn([dispatch], dispatch.work / 1e9);
    }
    expect(rates.limit("product")).toBeCloseTo(TARGET_MS * 1e9, -9);
  });

  it("tells variants of a kernel apart, and bounds them together", () => {
    const rates = createWorkRates();
    const along = { kernel: "product", variant: "along", work: 1e9 };
    const across = { kernel: "product", variant: "across", work: 1e9 };
    for (let turn = 0; turn < 20; turn++) {
      rates.learn([along], 1);
      rates.learn([across], 4);
    }
    expect(rates.predict(along)).toBeCloseTo(1, 3);
    expect(rates.predict(across)).toBeCloseTo(4, 3);
    const limit = rates.limit("product");
    expect(rates.predict({ ...across, work: limit })).toBeLessThan(4 * TARGET_MS);
  });

  it("knows a size of dispatch only once it was measured", () => {
    const rates = createWorkRates();
    const dispatch = { kernel: "product", variant: "", work: 1000 };
    expect(rates.knows(dispatch)).toBe(false);
    rates.learn([dispatch], 0);
    expect(rates.knows(dispatch)).toBe(true);
    expect(rates.knows({ kernel: "product", variant: "", work: 1_000_000 })).toBe(false);
    expect(rates.predict(dispatch)).toBeGreaterThan(0);
  });
});
