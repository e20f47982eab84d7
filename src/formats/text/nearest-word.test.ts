import { describe, expect, it } from "vitest";
import { nearestWord } from "./nearest-word.ts";

const WORDS = ["strategy", "symmetric", "targets", "weights"];

describe("the nearest word", () => {
  it.each([
    ["stratgey", "strategy"],
    ["Symetric", "symmetric"],
    ["target", "targets"],
    ["wieghts", "weights"],
    ["something", null],
    ["x".repeat(100), null],
  ])("to %s is %s", (typed, expected) => {
    expect(nearestWord(typed, WORDS)).toBe(expected);
  });
});
