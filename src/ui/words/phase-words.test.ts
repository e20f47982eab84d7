import { expect, it } from "vitest";
import { inOrder, phaseName } from "./phase-words.ts";

it("puts phases into the order of the work", () => {
  expect(inOrder({ older: 4, quantizing: 1, starting: 2, embedding: 3 })).toEqual([
    ["starting", 2],
    ["embedding", 3],
    ["quantizing", 1],
    ["older", 4],
  ]);
});

it("names phases of earlier versions by their own word", () => {
  expect(phaseName("calibrating")).toBe("Calibrating");
  expect(phaseName("onloading")).toBe("Onloading");
});
