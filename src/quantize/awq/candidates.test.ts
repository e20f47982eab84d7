import { describe, expect, it } from "vitest";
import { candidates, candidateScales } from "./candidates.ts";

describe("AWQ's candidates", () => {
  it("are no scaling at all, and then a grid of ratios", () => {
    expect(candidates({ duo_scaling: true, n_grid: 4 })).toEqual([
      { ratio: 0, duo: false },
      { ratio: 0, duo: true },
      { ratio: 0.5, duo: true },
      { ratio: 1, duo: true },
    ]);
    expect(candidates({ duo_scaling: false, n_grid: 3 }).map(({ ratio }) => ratio)).toEqual([0, 0.5, 1]);
    expect(candidates({ duo_scaling: "both", n_grid: 5 })).toEqual([
      { ratio: 0, duo: false },
      { ratio: 0, duo: true },
      { ratio: 1, duo: false },
      { ratio: 1, duo: true },
    ]);
  });

  it("lie around 1, as LLM Compressor computes them with torch", () => {
    const means = { x: Float32Array.of(0.5, 2, 0.03125, 0), w: Float64Array.of(0.25, 0.125, 0.5, 0.3) };
    expect([...candidateScales(means, { ratio: 0.5, duo: true })]).toEqual([
      70.70653533935547, 199.9717254638672, 12.5, 0.0050007072277367115,
    ]);
    expect([...candidateScales(means, { ratio: 0.5, duo: false })]).toEqual([
      59.46035385131836, 118.92070770263672, 14.86508846282959, 0.008408963680267334,
    ]);
    expect([...candidateScales(means, { ratio: 0, duo: false })]).toEqual([1, 1, 1, 1]);
  });
});
