import { expect, it } from "vitest";
import { createModuleMemory } from "./module-memory.ts";

const STEP = 64 * 1024;

it("gives memory for about as many bytes again, and keeps no more of it than it may", () => {
  const memory = createModuleMemory(2 * STEP);
  const buffers = [STEP, STEP - 1, STEP + 1].map((bytes) => {
    const taken = memory.take(bytes);
    expect(taken).toHaveLength(bytes);
    return taken.buffer;
  });
  const [one, other, large] = buffers;
  expect(one).not.toBe(other);
  for (const buffer of buffers) memory.give(new Uint8Array(buffer));
  memory.give(new Uint8Array(5));
  expect(memory.take(STEP + 2).buffer).not.toBe(large);
  expect(new Set([memory.take(3).buffer, memory.take(STEP).buffer])).toEqual(new Set([one, other]));
});
