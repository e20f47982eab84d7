import { describe, expect, it } from "vitest";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { roundTo } from "./dtype.ts";
import { globalScale } from "./global-scale.ts";

describe("NVFP4's global scale", () => {
  // The identity of compressed-tensors' test_helpers.py, test_fused_global_scales.
  it("is 2688 over the largest weight", () => {
    for (const value of randomNormal(1000, seededRandom(3))) {
      const amax = Math.abs(value);
      expect(2688 / globalScale(amax, "F32")).toBeCloseTo(amax, 3);
    }
  });

  // Values of compressed-tensors' generate_gparam: the reciprocal is rounded before it is multiplied.
  it.each([
    [0.0117, "BF16", 229_376],
    [0.3, "BF16", 8960],
    [3, "F16", 896],
    [1.5, "F32", 1792],
  ] as const)("of %d in %s is %d", (amax, dtype, scale) => {
    expect(globalScale(roundTo(dtype, amax), dtype)).toBe(scale);
  });

  it("is 1 where it would overflow", () => {
    expect(globalScale(0, "BF16")).toBe(1);
    expect(globalScale(0, "F32")).toBe(1);
    expect(globalScale(0.01, "F16")).toBe(1);
  });
});
