import { describe, expect, it } from "vitest";
import type { WeightInput } from "../graph/weight-input.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { fillWeights } from "./fill-weights.ts";

const NAMES = ["a", "b", "c", "d"];
/** Four float32 each. */
const BYTES = 16;

/** Reads that wait until they are answered, and writes. */
function setUp() {
  const events: string[] = [];
  const answers = new Map<string, (failure?: Error) => void>();
  const model = {
    tensor: (name: string) => ({ name, dtype: "F32", shape: [4] }),
    async read(name: string) {
      events.push(`read ${name}`);
      return await new Promise((resolve, reject) => {
        answers.set(name, (failure) => {
          if (failure) reject(failure);
          else resolve(new Uint8Array(BYTES));
        });
      });
    },
  } as unknown as StoredModel;
  const weights = new Map(
    NAMES.map((tensor) => [
      { kind: "vector", tensor, values: 4, added: 0 } as unknown as WeightInput,
      { write: async () => await Promise.resolve(void events.push(`write ${tensor}`)) },
    ]),
  );
  return { model, weights, events, answer: (name: string, failure?: Error) => answers.get(name)?.(failure) };
}

describe("fillWeights", () => {
  it("reads as far ahead as it may, and writes in order", async () => {
    const { model, weights, events, answer } = setUp();
    const filling = fillWeights(model, weights, 1, 3 * BYTES);
    expect(events).toEqual(["read a", "read b", "read c"]);
    for (const name of ["c", "b", "a"]) answer(name);
    await expect.poll(() => events.at(-1)).toBe("write c");
    expect(events.slice(3)).toEqual(["read d", "write a", "write b", "write c"]);
    answer("d");
    await filling;
    expect(events.at(-1)).toBe("write d");
  });

  it("reads those alone that are larger than what it may read ahead", async () => {
    const { model, weights, events, answer } = setUp();
    const filling = fillWeights(model, weights, 1, BYTES / 2);
    for (const name of NAMES) {
      await expect.poll(() => events).toContain(`read ${name}`);
      answer(name);
    }
    await filling;
    // While one is written the next one comes.
    const order = ["read a", "read b", "write a", "read c", "write b", "read d", "write c", "write d"];
    expect(events).toEqual(order);
  });

  it("brings a large dense weight in runs of rows, each to its place", async () => {
    const [rows, columns] = [5000, 1000];
    const events: string[] = [];
    const model = {
      tensor: () => ({ name: "head", dtype: "BF16", shape: [rows, columns] }),
      schemeOf: () => null,
      read: async (_: string, { start, end }: { start: number; end: number }) => {
        events.push(`read ${start / columns / 2} to ${end / columns / 2}`);
        return await Promise.resolve(new Uint8Array(end - start));
      },
    } as unknown as StoredModel;
    const linear = { module: "head", rows, columns, source: { tensor: "head", firstRow: 0 } };
    const weight = { kind: "rows", linear, firstRow: 0, rows } as unknown as WeightInput;
    const write = async (data: { readonly length: number }, offset: number) => {
      events.push(`write ${data.length / columns} rows at ${offset / columns / 4}`);
      await Promise.resolve();
    };
    await fillWeights(model, new Map([[weight, { write }]]), 1, 0);
    expect(events).toEqual([
      "read 0 to 3136",
      "read 3136 to 5000",
      "write 3136 rows at 0",
      "write 1864 rows at 3136",
    ]);
  });

  it("writes nothing behind one that did not come", async () => {
    const { model, weights, events, answer } = setUp();
    const filling = fillWeights(model, weights, 1);
    for (const name of ["a", "c", "d"]) answer(name);
    answer("b", new Error("gone"));
    await expect(filling).rejects.toThrow("gone");
    expect(events.filter((event) => event.startsWith("write"))).toEqual(["write a"]);
  });
});
