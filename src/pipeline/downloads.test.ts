// Jobs whose models are downloaded, under the real conductor and the real chunk store: what the world does to them at each thing
// that is put into IndexedDB or deleted from it, and that the job then ends with the bytes that it would have had.

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { IndexedDbFault } from "../testing/stand-ins/memory-indexed-db.ts";
import { storagePatience } from "../storage-answer.ts";
import type { Machine } from "../testing/jobs/machine.ts";
import { planFixture, type PlannedJob } from "../testing/jobs/plan-fixture.ts";

const METHODS = {
  rounded: { name: "QuantizationModifier" },
  calibrated: { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" },
} as const;

/** Every operation is tried, so the job has no more modules than differ: two that share an input, two with their own, and copies. */
const IGNORE = ["lm_head", "re:.*(v|o|up)_proj"];
const DONE = "done";
/** Each silence is waited out. */
const SILENT_STEP = 10;
const SILENT = /store for downloads \(IndexedDB\) has not answered for 1 s/;
const DATABASE = "layerpress-source";

const { fetch } = globalThis;
afterAll(() => {
  Object.assign(globalThis, { fetch, indexedDB: undefined, IDBKeyRange: undefined });
});

async function outcome(machine: Machine): Promise<string | null> {
  return await machine.run().then(
    () => null,
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}

const { milliseconds } = storagePatience;
afterEach(() => void (storagePatience.milliseconds = milliseconds));

describe.each(["rounded", "calibrated"] as const)("a downloaded job that is %s", (method) => {
  let job: PlannedJob;
  let whole: Machine;
  beforeAll(async () => {
    job = await planFixture("llama", "W8A8", METHODS[method], { downloaded: true, ignore: IGNORE });
    whole = job.machine();
    await whole.run();
  });

  it("forgets what it downloaded as it goes on", () => {
    expect(whole.database.operations).toBeGreaterThan(20);
    expect(whole.database.records(DATABASE).filter(([key]) => Array.isArray(key) && key.length > 1)).toEqual(
      [],
    );
  });

  it.each<IndexedDbFault>(["crash", "torn", "quota", "broken"])(
    "ends with the same bytes after any put or deletion that is the last (%s)",
    async (how) => {
      const failed = new Set<string | null>();
      for (let operation = 1; operation <= whole.database.operations; operation++) {
        const machine = job.machine();
        machine.database.failAt(operation, how);
        const first = await outcome(machine);
        failed.add(first);
        machine.recover();
        expect(first === null ? null : await outcome(machine), `after operation ${operation}`).toBeNull();
        expect(machine.output(), `after operation ${operation}`).toEqual(whole.output());
      }
      // What is not deleted, or not stored once all is read, keeps no job from its end.
      expect(failed).toEqual(new Set(["StorageError", null]));
    },
  );

  it("ends with a sentence where no put or deletion is answered any more, and with the same bytes afterwards", async () => {
    const said = new Set<string>();
    for (let operation = 1; operation <= whole.database.operations; operation += SILENT_STEP) {
      const machine = job.machine();
      machine.database.failAt(operation, "silent");
      storagePatience.milliseconds = 50;
      said.add(await machine.run().then(() => DONE, String));
      storagePatience.milliseconds = milliseconds;
      machine.recover();
      expect(await outcome(machine), `after operation ${operation}`).toBeNull();
      expect(machine.output(), `after operation ${operation}`).toEqual(whole.output());
    }
    // One that only cannot forget what it downloaded ends well.
    said.delete(DONE);
    expect([...said]).toEqual([expect.stringMatching(SILENT)]);
  });
});
