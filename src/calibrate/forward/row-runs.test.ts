import { expect, it } from "vitest";
import { rowRuns } from "./row-runs.ts";

const rowsOf = (most: number, units?: readonly number[], firstRow = 0) =>
  Array.from(rowRuns({ firstRow, rows: 20 - firstRow }, most, units), ({ rows }) => rows);

it("cuts between units where a run has room for one, and anywhere where it has none", () => {
  const units = [6, 12, 20];
  expect(rowsOf(20, units)).toEqual([20]);
  expect(rowsOf(13, units)).toEqual([12, 8]);
  expect(rowsOf(8, units)).toEqual([6, 6, 8]);
  expect(rowsOf(7, units)).toEqual([6, 6, 7, 1]);
  expect(rowsOf(13, units, 6)).toEqual([6, 8]);
});

it("takes as many rows as a run has room for where there are no units", () => {
  expect(rowsOf(8)).toEqual([8, 8, 4]);
});
