import { expect, it } from "vitest";
import { toldOfMemory } from "./page-memory.ts";

it("says in words that there was no memory for an array, and nothing of other errors", () => {
  // What engines say, and what arrives of it from another thread.
  const refused = [
    new RangeError("Array buffer allocation failed"),
    new RangeError("invalid array length"),
    Object.assign(new Error("Invalid typed array length: 9007199254740991"), { name: "RangeError" }),
  ];
  for (const error of refused)
    expect(toldOfMemory(error)).toMatchObject({
      name: "MemoryError",
      message: expect.stringContaining("gets about 15 GiB"),
    });
  for (const error of [
    new RangeError("Maximum call stack size exceeded"),
    new Error("Array buffer allocation failed"),
    1,
  ])
    expect(toldOfMemory(error)).toBe(error);
});

it("says what failed first where a disposer has failed behind that", () => {
  const first = new RangeError("Array buffer allocation failed");
  const hidden = Object.assign(new Error("The disposer."), { name: "SuppressedError", suppressed: first });
  expect(toldOfMemory(hidden)).toMatchObject({ name: "MemoryError" });
});
