import { expect, it } from "vitest";
import { createPieceMemory } from "./piece-memory.ts";

it("lends the same memory again, more of it where more is wanted, and each to one at a time", async () => {
  const memory = createPieceMemory(1);
  const buffer = async (bytes: number) =>
    await memory.lend(bytes, async (lent) => {
      expect(lent.byteLength).toBe(bytes);
      return await Promise.resolve(lent.buffer);
    });
  const first = await buffer(8);
  expect(await buffer(5)).toBe(first);
  expect(await buffer(9)).not.toBe(first);
  const order: string[] = [];
  const use = async (name: string) =>
    await memory.lend(1, async () => {
      order.push(`${name} begins`);
      await Promise.resolve();
      order.push(`${name} ends`);
    });
  await Promise.all([use("one"), use("other")]);
  expect(order).toEqual(["one begins", "one ends", "other begins", "other ends"]);
});
