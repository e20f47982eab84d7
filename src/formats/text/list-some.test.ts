import { expect, it } from "vitest";
import { listSome } from "./list-some.ts";

it("names so many, and counts the rest", () => {
  expect(listSome([], 2)).toBe("");
  expect(listSome(["a", "b"], 2)).toBe("a, b");
  expect(listSome(["a", "b", "c", "d", "e"], 2)).toBe("a, b and 3 more");
});
