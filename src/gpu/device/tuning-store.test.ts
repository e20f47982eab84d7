import { afterEach, describe, expect, it } from "vitest";
import { createMemoryIndexedDb } from "../../testing/stand-ins/memory-indexed-db.ts";
import { forgetTuning, keepTuning, measureOnce, readTuning } from "./tuning-store.ts";

const adapter = { vendor: "v", architecture: "a", description: "d" };

afterEach(() => {
  Object.assign(globalThis, { indexedDB: undefined });
});

function provide(database = createMemoryIndexedDb()): typeof database {
  Object.assign(globalThis, { indexedDB: database.factory });
  return database;
}

describe("what was measured of an adapter", () => {
  it("is found again, and forgotten", async () => {
    provide();
    await keepTuning(adapter, "n", 1);
    expect(await readTuning(adapter, "n")).toBe(1);
    expect(await readTuning(adapter, "other")).toBeUndefined();
    await forgetTuning();
    expect(await readTuning(adapter, "n")).toBeUndefined();
  });

  it("is measured once, of each adapter, also where it was found to be false", async () => {
    provide();
    const measured: string[] = [];
    const find = async (of: typeof adapter, isFaster: boolean) =>
      await measureOnce(of, "n", async () => {
        measured.push(of.vendor);
        return await Promise.resolve(isFaster);
      });
    const other = { ...adapter, vendor: "w" };
    expect([await find(adapter, false), await find(other, true)]).toEqual([false, true]);
    expect([await find(adapter, true), await find(other, false)]).toEqual([false, true]);
    expect(measured).toEqual(["v", "w"]);
  });

  it.each(["crash", "quota", "broken"] as const)(
    "ends nothing where the browser does not keep it: %s",
    async (how) => {
      for (let operation = 1; operation <= 4; operation++) {
        const database = provide();
        database.failAt(operation, how);
        await keepTuning(adapter, "n", 1);
        await readTuning(adapter, "n");
        await forgetTuning();
        database.recover();
        provide(database);
        await keepTuning(adapter, "n", 2);
        expect(await readTuning(adapter, "n")).toBe(2);
      }
    },
  );
});
