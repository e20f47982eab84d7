import { afterEach, expect, it } from "vitest";
import { StorageError } from "../../../errors.ts";
import { createMemoryIndexedDb } from "../../../testing/stand-ins/memory-indexed-db.ts";
import { QUALITY } from "../../testing/fake-evaluator.ts";
import { type MeasuredRecipe, openMeasurementStore } from "./measurement-store.ts";

const MEASURED: MeasuredRecipe = {
  jobId: "a",
  model: "tiny",
  recipe: "W4A16",
  seconds: 1,
  measuredAt: 1,
  report: QUALITY,
};

afterEach(() => {
  Object.assign(globalThis, { indexedDB: undefined });
});

it.each([
  ["quota", "keep", /cannot be kept for a later visit: .*full disk.*\. It is shown here/],
  ["broken", "keep", /cannot be kept for a later visit/],
  ["broken", "list", /measured on earlier visits cannot be read: Internal error .*indexedDB\.open\. Reload/],
  ["broken", "deleteModel", /What was measured on tiny cannot be deleted/],
] as const)("says what a store that is %s means for %s", async (how, action, sentence) => {
  const database = createMemoryIndexedDb();
  Object.assign(globalThis, { indexedDB: database.factory });
  database.failAt(how === "quota" ? 1 : 0, how);
  const store = openMeasurementStore();
  const asked = {
    keep: async () => await store.keep(MEASURED),
    list: async () => void (await store.list()),
    deleteModel: async () => await store.deleteModel("tiny"),
  }[action];
  await expect(asked()).rejects.toThrow(sentence);
  await expect(asked()).rejects.toThrow(StorageError);
});
