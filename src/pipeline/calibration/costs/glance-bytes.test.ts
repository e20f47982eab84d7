import { expect, it } from "vitest";
import { glancedLengths, glancePieces } from "./glance-bytes.ts";

it("glances at an eighth of the tokens, not at few, and at no more where there are many", () => {
  const counts = [0, 1, 100, 256, 1000, 2048, 2056, 4224, 8192, 262_144];
  const glanced = counts.map((tokens) => glancedLengths([tokens]));
  expect(glanced).toEqual([[], [1], [100], [256], [256], [256], [257], [528], [1024], [1024]]);
});

it("takes the first sequences, and cuts the last of them", () => {
  expect(glancedLengths([40, 50, 110])).toEqual([40, 50, 110]);
  expect(glancedLengths([40, 50, 300, 20])).toEqual([40, 50, 166]);
  expect(glancedLengths([200, 56, 300])).toEqual([200, 56]);
});

it("runs them in pieces that a batch holds, one behind the other", () => {
  expect(glancePieces([40, 50, 166], 512)).toEqual([{ lengths: [40, 50, 166], firstToken: 0, tokens: 256 }]);
  expect(glancePieces([40, 50, 166], 200)).toEqual([
    { lengths: [40, 50], firstToken: 0, tokens: 90 },
    { lengths: [166], firstToken: 90, tokens: 166 },
  ]);
});
