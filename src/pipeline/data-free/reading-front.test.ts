import { expect, it } from "vitest";
import { createReadingFront } from "./reading-front.ts";

const at = (start: number, path = "model-1") => ({ path, start, end: start + 10 });

it("lets go of what lies before a tile that is read, and of all that is left at the end", async () => {
  const front = createReadingFront();
  const passed: string[] = [];
  const read = front.watch((range) => range.start);
  const wait = async (name: string, place: { readonly path: string; readonly start: number }) => {
    await front.passes(place);
    passed.push(name);
  };
  const waits = [wait("norm", at(20)), wait("last norm", at(90)), wait("next file", at(0, "model-2"))];
  expect(read(at(0))).toBe(0);
  await Promise.resolve();
  expect(passed).toEqual([]);
  read(at(30));
  await waits[0];
  read(at(10));
  expect(passed).toEqual(["norm"]);
  read(at(40, "model-2"));
  await Promise.all(waits);
  front.end();
  await front.passes(at(50, "model-3"));
  expect(passed).toEqual(["norm", "last norm", "next file"]);
});
