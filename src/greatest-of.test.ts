import { expect, it } from "vitest";
import { greatestOf } from "./greatest-of.ts";

it("finds the greatest of as many values as come", () => {
  expect(greatestOf([3, 7, 2])).toBe(7);
  expect(greatestOf(new Float32Array(1_000_000).map((_, at) => at % 1000))).toBe(999);
  expect(greatestOf([-3], 0)).toBe(0);
  expect(greatestOf([])).toBe(-Infinity);
});
