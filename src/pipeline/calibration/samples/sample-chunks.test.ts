import { expect, it } from "vitest";
import { batchesOf, chunkCount, chunksBySequence, chunkTokens } from "./sample-chunks.ts";

const LENGTHS = Array.from({ length: 40 }, (_, at) => 30 + ((at * 97) % 700));

it("cuts sequences into as many chunks as there are, whatever a batch has room for", () => {
  const chunks = chunksBySequence(LENGTHS);
  expect(chunks).toHaveLength(LENGTHS.length);
  expect(chunks).toEqual(chunks.toSorted((a, b) => a - b));
  expect(new Set(chunks).size).toBe(8);
  expect(chunkCount(LENGTHS)).toBe(8);
  expect(chunksBySequence([5, 5, 5])).toEqual([0, 1, 2]);
  for (const maxTokens of [1, 900, chunkTokens(LENGTHS)]) {
    for (const { first, starts } of batchesOf(LENGTHS, { maxTokens, byChunk: true })) {
      const own = chunks.slice(first, first + starts.length - 1);
      expect(new Set(own).size).toBe(1);
    }
  }
});

it("cuts no unit, with chunks or without", () => {
  const unitsOf = (maxTokens: number, byChunk: boolean) =>
    batchesOf(LENGTHS, { maxTokens, byChunk }).flatMap(({ firstToken, units = [] }) =>
      units.map((end) => firstToken + end),
    );
  const whole = unitsOf(Infinity, false);
  expect(whole.length).toBeGreaterThan(15);
  for (const maxTokens of [1, 900, 5000]) {
    expect(unitsOf(maxTokens, false)).toEqual(whole);
    expect(unitsOf(maxTokens, true)).toEqual(whole);
  }
});
