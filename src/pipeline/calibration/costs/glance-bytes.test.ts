import { expect, it } from "vitest";
import { glancedLengths, glanceTokens } from "./glance-bytes.ts";

it("glances at an eighth of the tokens, not at few, and at no more where there are many", () => {
  const counts = [0, 1, 100, 256, 1000, 2048, 2056, 4224, 8192, 262_144];
  expect(counts.map(glanceTokens)).toEqual([0, 1, 100, 256, 256, 256, 257, 528, 1024, 1024]);
});

it("takes the first sequences, and cuts the last of them", () => {
  const starts = [0, 40, 90, 200];
  expect(glancedLengths({ starts }, 128)).toEqual([40, 50, 38]);
  expect(glancedLengths({ starts }, 90)).toEqual([40, 50]);
  expect(glancedLengths({ starts }, 1024)).toEqual([40, 50, 110]);
});
