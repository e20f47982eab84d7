import { expect, it } from "vitest";
import { cutWork } from "./cut-work.ts";

it("gives every item to one run, cut at multiples and within the limit", () => {
  const runs = [...cutWork(() => 1000, { count: 100, workEach: 33, multiple: 8 })];
  expect(runs.slice(0, 2)).toEqual([
    { first: 0, end: 24 },
    { first: 24, end: 48 },
  ]);
  expect(runs.at(-1)).toEqual({ first: 96, end: 100 });
  expect(runs.reduce((next, run) => (run.first === next ? run.end : Number.NaN), 0)).toBe(100);
});

it("gives a run one multiple at least, however much work that is", () => {
  const runs = [...cutWork(() => 1, { count: 20, workEach: 1e12, multiple: 8 })];
  expect(runs.map(({ end }) => end)).toEqual([8, 16, 20]);
});

it("asks for the limit before each run: it is learned on the way", () => {
  let limit = 1;
  const ends: number[] = [];
  for (const { end } of cutWork(() => limit, { count: 15, workEach: 1, multiple: 1 })) {
    ends.push(end);
    limit *= 2;
  }
  expect(ends).toEqual([1, 3, 7, 15]);
});

it("gives no run of nothing", () => {
  expect([...cutWork(() => 1, { count: 0, workEach: 1, multiple: 1 })]).toEqual([]);
});
