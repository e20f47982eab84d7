import { expect, it } from "vitest";
import { allEnded } from "./all-ended.ts";

it("gives what comes of each, in their order", async () => {
  expect(await allEnded([Promise.resolve(1), Promise.resolve("two")])).toEqual([1, "two"]);
});

it("waits for the rest when one fails, and tells what failed first", async () => {
  let end: () => void = () => undefined;
  const late = new Promise<void>((resolve) => {
    end = resolve;
  });
  let hasEnded = false;
  const slow = late.then(() => {
    hasEnded = true;
    throw new Error("later");
  });
  const all = allEnded([slow, Promise.reject(new Error("first"))]);
  end();
  await expect(all).rejects.toThrow("first");
  expect(hasEnded).toBe(true);
});
