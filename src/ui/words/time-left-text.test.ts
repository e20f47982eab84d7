import { expect, it } from "vitest";
import { timeLeftText } from "./time-left-text.ts";

it("says that no time passes while a job is paused", () => {
  expect(timeLeftText({ paused: false, secondsLeft: 7 })).toBe("7 s left");
  expect(timeLeftText({ paused: true, secondsLeft: 7 })).toBe("7 s left once you resume");
});
