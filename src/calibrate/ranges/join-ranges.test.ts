import { describe, expect, it } from "vitest";
import { roundTo } from "../../formats/numbers/dtype.ts";
import { joinRanges, type Range } from "./activation-ranges.ts";

const exact = (value: number) => value;

describe("observers of activations", () => {
  const ranges: Range[] = [
    [-1, 4],
    [-3, 2],
    [-2, 1],
  ];

  it("take the widest range of all sequences (static_minmax)", () => {
    expect(joinRanges(ranges, "static_minmax", exact)).toEqual([-3, 4]);
  });

  it("remember only the last sequence (memoryless_minmax)", () => {
    expect(joinRanges(ranges, "memoryless_minmax", exact)).toEqual([-2, 1]);
  });

  it("move by a hundredth of the way to each sequence's range (minmax)", () => {
    const [low, high] = joinRanges(ranges, "minmax", exact);
    expect(low).toBeCloseTo(-1.02 + 0.01 * (-2 + 1.02), 12);
    expect(high).toBeCloseTo(3.98 + 0.01 * (1 - 3.98), 12);
  });

  it("round to the dtype of the activations", () => {
    expect(joinRanges([[-0.1, 0.3]], "static_minmax", (value) => roundTo("BF16", value))).toEqual([
      roundTo("BF16", -0.1),
      roundTo("BF16", 0.3),
    ]);
  });
});
