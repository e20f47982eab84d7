import { describe, expect, it } from "vitest";
import { makeBatches } from "./batches.ts";

describe("makeBatches", () => {
  it("lays whole sequences end to end up to the limit", () => {
    expect(makeBatches([3, 4, 2, 9, 1], 8)).toEqual([
      { first: 0, starts: [0, 3, 7], tokens: 7, firstToken: 0 },
      { first: 2, starts: [0, 2], tokens: 2, firstToken: 7 },
      { first: 3, starts: [0, 9], tokens: 9, firstToken: 9 },
      { first: 4, starts: [0, 1], tokens: 1, firstToken: 18 },
    ]);
  });

  it("loses no token", () => {
    const lengths = Array.from({ length: 50 }, (_, index) => 1 + ((index * 37) % 19));
    const batches = makeBatches(lengths, 40);
    expect(batches.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(lengths.reduce((a, b) => a + b, 0));
    expect(batches.flatMap(({ starts }) => starts.slice(1)).length).toBe(lengths.length);
  });
});
