import { expect, it } from "vitest";
import { touchArrays } from "./touched-arrays.ts";

type Threads = NonNullable<Parameters<typeof touchArrays>[2]>;

it("gives arrays in order, asked for ahead, from threads and without, and ends the threads", async () => {
  const touched: number[] = [];
  let ended = 0;
  const api = {
    touch: async (bytes: number) => {
      touched.push(bytes);
      return await Promise.resolve(new ArrayBuffer(bytes));
    },
  };
  const ask = async (asked: (of: typeof api) => Promise<ArrayBuffer>, here: () => ArrayBuffer) =>
    touched.length < 2 ? await asked(api) : here();
  const threads = { ask, [Symbol.dispose]: () => ended++ } as unknown as Threads;
  {
    using arrays = touchArrays([1, 2, 3], 2, threads);
    expect(touched).toEqual([4, 8]);
    for (const length of [1, 2, 3]) expect(await arrays.next()).toEqual(new Float32Array(length));
  }
  expect([touched, ended]).toEqual([[4, 8], 1]);
});
