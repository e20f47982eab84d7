import { expect, it } from "vitest";
import { BrokenThreadError } from "../../../start-thread.ts";
import { touchArrays } from "./touched-arrays.ts";

type Begin = NonNullable<Parameters<typeof touchArrays>[1]>;

it("gives arrays in order from threads, and without where one breaks down, and ends the threads", async () => {
  const touched: number[] = [];
  let ended = 0;
  let begun = 0;
  const begin = (() => {
    const breaks = begun++ === 1;
    const broken = breaks
      ? Promise.reject(new BrokenThreadError("broken"))
      : new Promise<never>(() => undefined);
    broken.catch(() => undefined);
    const touch = async (bytes: number) => {
      if (breaks) return await new Promise<ArrayBuffer>(() => undefined);
      touched.push(bytes);
      return await Promise.resolve(new ArrayBuffer(bytes));
    };
    return { api: { touch }, broken, [Symbol.dispose]: () => ended++ };
  }) as unknown as Begin;
  {
    using arrays = touchArrays([1, 2, 3], begin, 2);
    for (const length of [1, 2, 3]) expect(await arrays.next()).toEqual(new Float32Array(length));
  }
  expect([touched, begun, ended]).toEqual([[4, 12], 2, 2]);
});
