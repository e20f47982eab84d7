import { afterEach, expect, it, vi } from "vitest";
import { createSpareArrays } from "./spare-arrays.ts";

const BYTES = 1000;

afterEach(() => {
  vi.useRealTimers();
});

it("gives what was given back, within its bound, and nothing that is too small", () => {
  const spare = createSpareArrays(2 * BYTES);
  const given = [1, 2, 3].map(() => new Uint8Array(BYTES));
  for (const bytes of given) spare.give(bytes);
  const taken = [spare.take(BYTES), spare.take(BYTES), spare.take(BYTES)];
  expect(taken.filter((buffer) => given.some((bytes) => bytes.buffer === buffer))).toHaveLength(2);
  expect(taken[2]).toBeUndefined();
  spare.give(new Uint8Array(BYTES - 1));
  expect(spare.take(BYTES)).toBeUndefined();
});

it("lets go of what nobody has wanted for long", () => {
  vi.useFakeTimers();
  const spare = createSpareArrays(4 * BYTES, 100);
  for (let array = 0; array < 4; array++) spare.give(new Uint8Array(BYTES));
  vi.advanceTimersByTime(99);
  expect(spare.take(BYTES)).toBeDefined();
  vi.advanceTimersByTime(99);
  expect(spare.take(BYTES)).toBeDefined();
  vi.advanceTimersByTime(100);
  expect(spare.take(BYTES)).toBeUndefined();
  expect(vi.getTimerCount()).toBe(0);
});
