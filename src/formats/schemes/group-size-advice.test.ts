import { expect, it } from "vitest";
import { advisedGroupSize, groupSizeAdvice } from "./group-size-advice.ts";

it("advises the largest usual group size that divides, and reads its own advice", () => {
  const advised = (columns: number) =>
    advisedGroupSize(`It does not fit. ${groupSizeAdvice(columns)}; or not.`);
  // SmolLM2's hidden size, and its intermediate size with it.
  expect(advised(576)).toBe(64);
  expect(advised(96)).toBe(32);
  expect(advised(4096)).toBe(128);
  expect(advised(100)).toBeNull();
});
