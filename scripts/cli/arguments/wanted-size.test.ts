import { expect, it } from "vitest";
import { RecipeError } from "../../../src/errors.ts";
import { checkReachable, readWantedSize } from "./wanted-size.ts";

const RESULTS = [
  { resultBytes: 4 * 1024 ** 3, bitsPerWeight: 8.13 },
  { resultBytes: 2 * 1024 ** 3, bitsPerWeight: 4.13 },
];

const refusal = (given: { "target-size"?: string; "target-bits"?: string }): string => {
  const wanted = readWantedSize(given);
  try {
    if (wanted) checkReachable(RESULTS, wanted);
  } catch (error) {
    if (error instanceof RecipeError) return error.message;
    throw error;
  }
  return "taken";
};

it("refuses a size below that of the smallest scheme before anything is measured", () => {
  const rest =
    "cannot be reached: with the smallest of these schemes the weights take 2 GiB, 4.13 bits each. Ask for more, or name recipes of fewer bits.";
  expect(refusal({ "target-size": "0" })).toBe(`0 bytes ${rest}`);
  expect(refusal({ "target-size": "1.9GiB" })).toBe(`1.9 GiB ${rest}`);
  expect(refusal({ "target-bits": "4" })).toBe(`4 bits of a weight ${rest}`);
  for (const size of ["2GiB", "3GiB"]) expect(refusal({ "target-size": size })).toBe("taken");
  for (const bits of ["4.125", "4.2", "9"]) expect(refusal({ "target-bits": bits })).toBe("taken");
});
