import { describe, expect, it } from "vitest";
import type { LayerCost, PartCosts } from "../../src/api/compressor-api.ts";
import { cutLayers, dearest, type LayerRange, rangeSeconds } from "./cut-layers.ts";
import { divideJob, divisionLines } from "./divide-job.ts";

/** Layers of a recipe that needs no text. */
function streamed(bytes: readonly number[]): LayerCost[] {
  return bytes.map((size, at) => {
    const seconds = size / 100;
    return {
      name: `layers.${at}`,
      bytes: size,
      operations: 0,
      seconds,
      lastSeconds: seconds,
      passedSeconds: 0,
      comingSeconds: seconds,
    };
  });
}

/** Alike layers of a recipe that calibrates: so many seconds each, so many of them to run samples through. */
function calibrated(count: number, seconds: number, passedSeconds: number, comingSeconds = 0): LayerCost[] {
  const lastSeconds = seconds - passedSeconds;
  const each = { bytes: 1, operations: 1, seconds, lastSeconds, passedSeconds, comingSeconds };
  return Array.from({ length: count }, (_, at) => ({ name: `layers.${at}`, ...each }));
}

function costs(layers: readonly LayerCost[], changes: Partial<PartCosts> = {}): PartCosts {
  return { layers, restBytes: 9, batches: 0, statesBytes: 0, dependence: null, shares: 0, ...changes };
}

const ranges = (layers: readonly LayerCost[], parts: number, changes: Partial<PartCosts> = {}) =>
  divideJob(costs(layers, changes), parts).parts.map((part) => part.layers);

describe("divideJob", () => {
  it("cuts equal layers into equal ranges, and leaves no layer out", () => {
    const layers = streamed(Array.from({ length: 32 }, () => 7));
    expect(ranges(layers, 4)).toEqual(["0..7", "8..15", "16..23", "24..31", "rest"]);
    expect(ranges(layers, 1)).toEqual(["0..31", "rest"]);
  });

  it("makes the dearest range as cheap as can be", () => {
    const layers = streamed([8, 1, 1, 1, 1, 4]);
    expect(ranges(layers, 2)).toEqual(["0..0", "1..5", "rest"]);
    expect(ranges(layers, 3)).toEqual(["0..0", "1..4", "5..5", "rest"]);
  });

  it("makes as many ranges as are asked for, or one a layer", () => {
    expect(ranges(streamed([1, 1, 1, 1]), 3)).toHaveLength(4);
    expect(ranges(streamed([1, 1]), 9)).toEqual(["0..0", "1..1", "rest"]);
    expect(ranges([], 2)).toEqual(["rest"]);
  });

  it("says what layers cost", () => {
    expect(divideJob(costs(streamed([1, 1, 1, 1])), 2)).toMatchObject({
      by: "bytes",
      statesAt: [],
      parts: [
        { layers: "0..1", bytes: 2, operations: 0 },
        { layers: "2..3", bytes: 2 },
        { layers: "rest", bytes: 9 },
      ],
    });
    expect(divideJob(costs(calibrated(4, 4, 1), { batches: 4, statesBytes: 1e12 }), 2)).toMatchObject({
      by: "operations",
      parts: [{ operations: 2 }, { operations: 2 }, { operations: 0 }],
    });
  });

  it("makes ranges shorter the more layers their samples pass before them", () => {
    const long = { batches: 64, statesBytes: 1e12 };
    const layers = calibrated(16, 5, 1);
    const { parts, statesAt } = divideJob(costs(layers, long), 2);
    expect([statesAt, parts.map((part) => part.layers)]).toEqual([[], ["0..8", "9..15", "rest"]]);
    // The last layer of a range takes its samples nowhere; the second one's pass nine layers.
    expect(parts.map(({ seconds }) => seconds)).toEqual([9 * 5 - 1, 9 + 7 * 5 - 1, 0]);
    expect(ranges(calibrated(32, 5, 1), 4, long)).toEqual(["0..10", "11..19", "20..26", "27..31", "rest"]);
  });

  it("lets ranges begin with states of a first pass where that is sooner done", () => {
    const layers = calibrated(80, 20, 4);
    const quick = divideJob(costs(layers, { batches: 64, statesBytes: 1e9 }), 8);
    expect(quick.statesAt).toEqual([10, 20, 30, 40, 50, 60, 70]);
    expect(divisionLines(quick)[0]).toMatch(/^--states-at 10,20,30,40,50,60,70 first/);
    expect(divideJob(costs(layers, { batches: 64, statesBytes: 1e12 }), 8).statesAt).toEqual([]);
    expect(divideJob(costs(layers, { batches: 64, statesBytes: 1e9 }), 1).statesAt).toEqual([]);
    expect(divideJob(costs(layers, { batches: 64, dependence: "…" }), 8).statesAt).toEqual([]);
  });

  it("lets a pass of all workers take as long as the weights of its layers come", () => {
    // A layer of Llama 3.1 8B, 128 x 2,048 tokens, on matrix units of an H200: what its samples take, what it takes forward, and 436 MB.
    const [seconds, passed, coming, statesBytes] = [4.3, 1.7, 1.45, 4.3e9];
    const layersOf = (count: number, comes: number) => calibrated(count, seconds, passed, comes);
    // Four workers pass twelve layers in 17 s at least, and write and read states for 21; the last of four ranges passes 14 in 24.
    const four = divideJob(costs(layersOf(16, coming), { batches: 64, statesBytes }), 4);
    expect(four.statesAt).toEqual([]);
    expect(four.parts.map(({ layers }) => layers)).toEqual(["0..6", "7..10", "11..13", "14..15", "rest"]);
    // Without a browser's start, the first states and saving: three of four such ranges took 45 s with those.
    expect(Math.max(...four.parts.map((part) => part.seconds))).toBeCloseTo(15 * passed + 2 * 2.6, 9);
    const statesOf = (count: number, comes: number, workers: number) =>
      divideJob(costs(layersOf(count, comes), { batches: 64, statesBytes }), workers).statesAt.length;
    expect([statesOf(32, coming, 16), statesOf(32, coming / 4, 16)]).toEqual([0, 15]);
  });

  it("is told in a line for each part", () => {
    const lines = divisionLines(divideJob(costs(streamed([1024 ** 3, 1024 ** 3])), 2));
    expect(lines[0]).toMatch(/^--layers 0\.\.0 +1 GiB of weights, 50\.0 % of the work$/);
  });

  it("is told with why ranges cannot be made, unless one is all there is", () => {
    const divided = (parts: number) =>
      divideJob(costs(streamed([1, 1]), { dependence: "Add --no-propagate-error." }), parts);
    expect(divided(2)).toMatchObject({ independent: false, dependence: "Add --no-propagate-error." });
    expect(divisionLines(divided(2))[0]).toBe("Add --no-propagate-error.");
    expect(divisionLines(divided(1))[0]).toMatch(/^--layers 0\.\.1 /);
  });
});

describe("cutLayers", () => {
  /** The cheapest dearest range over all ways to cut into at most so many. */
  function cheapest(costOf: (range: LayerRange) => number, first: number, end: number, most: number): number {
    if (first === end) return 0;
    if (most === 0) return Infinity;
    const ways = Array.from({ length: end - first }, (_, at) =>
      Math.max(costOf({ first, end: first + at + 1 }), cheapest(costOf, first + at + 1, end, most - 1)),
    );
    return Math.min(...ways);
  }

  it.each([true, false])("finds what no other way of cutting betters, passing %s", (passes) => {
    const layers = [3, 1, 4, 1, 5, 9, 2, 6].map((seconds, at): LayerCost => {
      const passedSeconds = [1, 0.5, 1, 0.2, 2, 1, 1, 3][at] ?? 0;
      const lastSeconds = seconds - passedSeconds;
      return {
        name: `layers.${at}`,
        bytes: 1,
        operations: 1,
        seconds,
        lastSeconds,
        passedSeconds,
        comingSeconds: 0,
      };
    });
    const costOf = rangeSeconds(layers, passes);
    for (let parts = 1; parts <= layers.length; parts++) {
      const cut = cutLayers(layers.length, parts, costOf);
      expect(cut).toHaveLength(parts);
      expect(cut.map(({ first }) => first)).toEqual([0, ...cut.slice(0, -1).map(({ end }) => end)]);
      expect(dearest(cut, costOf)).toBeCloseTo(cheapest(costOf, 0, layers.length, parts), 9);
    }
  });
});
