import { expect, it } from "vitest";
import { createLaterWrites } from "./later-writes.ts";

const LARGE = 5 * 1024 ** 2;

it("writes all bytes in order, slice by slice, and tells of a failure", async () => {
  const events: string[] = [];
  using writes = createLaterWrites();
  let end = 0;
  writes.add(new Uint8Array(LARGE), (offset, slice) => {
    expect(offset).toBe(end);
    end += slice.byteLength;
    if (end === LARGE) events.push("written");
  });
  writes.behind(() => events.push("done"));
  writes.add(new Uint8Array(3), () => {
    events.push("another");
    throw new Error("the disk is full");
  });
  writes.behind(() => events.push("given up"));
  expect(end).toBe(0);
  await expect(writes.written()).rejects.toThrow("the disk is full");
  expect(events).toEqual(["written", "done", "another", "given up"]);
});

it("writes nothing any more once it is disposed of", async () => {
  const events: string[] = [];
  const writes = createLaterWrites();
  writes.add(new Uint8Array(3), () => events.push("written"));
  writes.behind(() => events.push("done"));
  writes[Symbol.dispose]();
  await writes.written();
  expect(events).toEqual(["done"]);
});
