import { expect, it } from "vitest";
import { BUDGET_STEPS, defaultBudget, stepIndex } from "./gpu-budget.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

it.each([
  ["an adapter of the 4 GiB tier, which reports four bytes less", 4 * GIB - 4, 4 * GIB],
  ["Direct3D's 2 GiB", 2 * GIB, 2 * GIB],
  ["1 GiB, of which half is left", GIB, 512 * MIB],
  ["the specification's minimum", 256 * MIB, 128 * MIB],
  ["an adapter with huge buffers", 64 * GIB, 4 * GIB],
])("has a default for %s", (_name, maxBufferBytes, budget) => {
  expect(defaultBudget(maxBufferBytes)).toBe(budget);
});

it("finds the step at or below an amount", () => {
  expect(BUDGET_STEPS[stepIndex(2 * GIB)]).toBe(2 * GIB);
  expect(BUDGET_STEPS[stepIndex(2 * GIB - 1)]).toBe(1.5 * GIB);
  expect(stepIndex(1)).toBe(0);
});
