import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { mapLimited } from "./map-limited.ts";

function later<Value>() {
  let resolve: (value: Value) => void = () => undefined;
  const promise = new Promise<Value>((settle) => (resolve = settle));
  return { promise, resolve };
}

it("begins nothing more once one has failed", async () => {
  const slow = later<string>();
  const begun: number[] = [];
  const work = async (item: number) => {
    begun.push(item);
    if (item === 0) return await slow.promise;
    throw new Error(`${item} failed`);
  };

  await expect(mapLimited(2, [0, 1, 2, 3], work)).rejects.toThrow("1 failed");
  slow.resolve("late");
  await nextTurn();

  expect(begun).toEqual([0, 1]);
});

it("gives what it makes in the order of the items", async () => {
  const slow = later<string>();
  const work = async (item: string) => {
    if (item === "a") return await slow.promise;
    slow.resolve("A");
    return await Promise.resolve(item.toUpperCase());
  };

  expect(await mapLimited(2, ["a", "b", "c"], work)).toEqual(["A", "B", "C"]);
});
