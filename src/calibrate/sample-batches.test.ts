import { expect, it } from "vitest";
import { sampleBatches, sampleCells } from "./sample-batches.ts";

const LENGTHS = [3, 300, 200, 2, 1300, 5, 5, 5, 400, 512, 513, 1, 900];

/** Units as tokens of the whole set. */
function unitsIn(maxTokens: number): number[] {
  return sampleBatches(sampleCells(LENGTHS), maxTokens).flatMap(({ units = [], firstToken }) =>
    units.map((end) => firstToken + end),
  );
}

it("keeps to the same units in batches of any size", () => {
  const apart = unitsIn(1);
  expect(apart.slice(0, 6)).toEqual([505, 1155, 1805, 2220, 2732, 3246]);
  expect(apart.at(-1)).toBe(LENGTHS.reduce((sum, length) => sum + length, 0));
  for (const maxTokens of [600, 1024, 2048, 5000, Infinity]) expect(unitsIn(maxTokens)).toEqual(apart);
});

it("lays whole sequences end to end up to the limit, and parts no cell", () => {
  for (const maxTokens of [1, 600, 1500, Infinity]) {
    const batches = sampleBatches(sampleCells(LENGTHS), maxTokens);
    const lengths = batches.flatMap(({ starts }) =>
      starts.slice(1).map((end, at) => end - (starts[at] ?? 0)),
    );
    expect(lengths).toEqual(LENGTHS);
    let [sequences, tokens] = [0, 0];
    for (const batch of batches) {
      expect([batch.first, batch.firstToken]).toEqual([sequences, tokens]);
      expect(batch.starts.at(-1)).toBe(batch.tokens);
      sequences += batch.starts.length - 1;
      tokens += batch.tokens;
    }
  }
});

it("makes eight units of few tokens, if there are so many sequences", () => {
  expect(sampleCells(Array.from({ length: 16 }, () => 10))).toHaveLength(8);
  expect(sampleCells([12, 8])).toHaveLength(2);
});
