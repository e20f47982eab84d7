import { expect, it } from "vitest";
import { formatDuration } from "./format-duration.ts";

it.each([
  [0, "under 1 s"],
  [0.4, "under 1 s"],
  [1, "1 s"],
  [59.4, "59 s"],
  [59.6, "1 min"],
  [89, "1 min"],
  [240, "4 min"],
  [3_569, "59 min"],
  [3_580, "1 h"],
  [4_320, "1 h 12 min"],
  [86_399, "24 h"],
  [86_400, "1 d"],
  [183_600, "2 d 3 h"],
])("writes %d seconds as %s", (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});
