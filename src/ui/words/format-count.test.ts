import { expect, it } from "vitest";
import { formatCount, formatPercent } from "./format-count.ts";

it.each([
  [512, "512"],
  [3_738_624, "3.74 M"],
  [8_030_261_248, "8.03 B"],
  [1_040_000_000_000, "1.04 T"],
])("writes %d as %s", (count, text) => {
  expect(formatCount(count)).toBe(text);
});

it("does not call a job whole before it is", () => {
  expect(formatPercent(0.3712)).toBe("37 %");
  expect(formatPercent(0.9999)).toBe("99 %");
  expect(formatPercent(1)).toBe("100 %");
  expect(formatPercent(-0.1)).toBe("0 %");
});
