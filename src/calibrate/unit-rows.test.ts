import { expect, it } from "vitest";
import { createUnitCutter } from "./unit-rows.ts";

const BATCH = { first: 0, starts: [0, 10], tokens: 10, firstToken: 0, units: [3, 6, 10] };

it("cuts the rows of each input where units end, however they come", () => {
  const cutter = createUnitCutter();
  const [one, other] = [{}, {}];
  for (const _ of ["a batch", "another"]) {
    cutter.begin(BATCH);
    expect(cutter.cut(one, { rows: 10 })).toEqual([
      { first: 0, rows: 3 },
      { first: 3, rows: 3 },
      { first: 6, rows: 4 },
    ]);
    expect(cutter.cut(other, { rows: 4 })).toEqual([
      { first: 0, rows: 3 },
      { first: 3, rows: 1 },
    ]);
    expect(cutter.cut(other, { rows: 6 })).toEqual([
      { first: 0, rows: 2 },
      { first: 2, rows: 4 },
    ]);
  }
});

it("leaves whole what has no units, or is some of the tokens alone", () => {
  const cutter = createUnitCutter();
  expect(cutter.cut({}, { rows: 7 })).toEqual([{ first: 0, rows: 7 }]);
  cutter.begin(BATCH);
  expect(cutter.cut({}, { rows: 7, routed: true })).toEqual([{ first: 0, rows: 7 }]);
});
