import { expect, it } from "vitest";
import { samplePlaces } from "./sampled-places.ts";

it.each([10, 1024, 5000, 64 * 1024 ** 2, 5 * 1024 ** 3])(
  "looks at the first and the last of %d bytes, and all over",
  (bytes) => {
    const { starts, pieceBytes } = samplePlaces(bytes);
    expect(Math.min(...starts)).toBe(0);
    expect(Math.max(...starts)).toBe(Math.max(bytes - pieceBytes, 0));
    expect(starts.every(Number.isInteger)).toBe(true);
    const inOrder = starts.toSorted((a, b) => a - b);
    const gaps = inOrder.slice(1).map((start, index) => start - (inOrder[index] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(Math.ceil(bytes / 512) + 1);
  },
);

it("looks elsewhere each time", () => {
  expect(samplePlaces(2 ** 26).starts).not.toEqual(samplePlaces(2 ** 26).starts);
});
