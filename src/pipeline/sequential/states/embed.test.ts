import { describe, expect, it, vi } from "vitest";
import type { SequenceBatch } from "../../../calibrate/batches.ts";
import type { HiddenStates, RowTable } from "../../../calibrate/hidden-states.ts";
import type { CalibrationJob } from "../../calibration/plan-calibrated-layers.ts";
import type { Job } from "../../job/job.ts";
import { keepRows } from "../../job/embedding-rows.ts";
import { embed } from "./embed.ts";

const VOCABULARY = 50;

/** A table of rows of one word: each token's id, twice. */
function jobOf(): { job: Job; reads: [number, number][] } {
  const words = Uint16Array.from({ length: VOCABULARY * 2 }, (_, at) => Math.floor(at / 2));
  const bytes = new Uint8Array(words.buffer);
  const reads: [number, number][] = [];
  const job = {
    model: { tensors: [{ name: "e", dtype: "BF16", file: "f", start: 0, end: bytes.length }] },
    source: {
      read: async ({ start, end }: { start: number; end: number }) => {
        reads.push([start, end]);
        return await Promise.resolve(bytes.slice(start, end));
      },
    },
    progress: { tell: () => undefined },
    control: { checkpoint: async () => await Promise.resolve() },
  };
  return { job: job as unknown as Job, reads };
}

function tableOf(capacity: number) {
  const table = new Uint16Array(capacity * 2);
  const kept: number[][] = [];
  const rows: RowTable = {
    capacity,
    async fill(bytes, first) {
      new Uint8Array(table.buffer).set(bytes, first * 4);
      await Promise.resolve();
    },
    async put(_, places) {
      kept.push([...places].map((place) => table[place * 2] ?? -1));
      await Promise.resolve();
    },
  };
  const states: Pick<HiddenStates, "put" | "table" | "keepsArrays"> = {
    keepsArrays: false,
    put: async () => await Promise.reject(new Error("not on the host")),
    table: rows,
  };
  return { states, kept };
}

const SEQUENCES = [Uint32Array.of(9, 3, 3), Uint32Array.of(40), Uint32Array.of(7, 8, 9, 12)];

function calibrationOf(batches: Partial<SequenceBatch>[]) {
  const embedding = { tensor: "e", multiplier: 1 };
  const description = { embedding, vocabSize: VOCABULARY, hiddenSize: 2 };
  return { description, set: { sequences: SEQUENCES }, plan: { batches, hidden: { size: 2 } } };
}

const BATCHES: Partial<SequenceBatch>[] = [
  { first: 0, starts: [0, 3, 4], tokens: 4 },
  { first: 2, starts: [0, 4], tokens: 4 },
];

/** Calls when messages are let in. */
function tellLater(tell: () => void): void {
  const { port1, port2 } = new MessageChannel();
  port1.addEventListener("message", () => {
    port1.close();
    tell();
  });
  port1.start();
  port2.postMessage(null);
}

describe("embed", () => {
  it.each([
    { capacity: 8, reads: 1, what: "once" },
    { capacity: 4, reads: 1, what: "for each batch from host memory" },
  ])(
    "reads rows of the source once, and fills the GPU with those that are used, $what where $capacity fit",
    async ({ capacity, reads }) => {
      const calibration = calibrationOf(BATCHES);
      const { job, reads: read } = jobOf();
      const { states, kept } = tableOf(capacity);
      const begun = { ...job, plan: { calibration } } as unknown as Job;
      const passing = keepRows(begun);
      await embed(job, calibration as unknown as CalibrationJob, states, passing);
      expect(kept).toEqual([
        [9, 3, 3, 40],
        [7, 8, 9, 12],
      ]);
      expect(read).toHaveLength(reads);
      // Once the table has passed by, in any pieces, nothing of it is read again.
      const bytes = await job.source.read({ path: "f", start: 0, end: VOCABULARY * 4 });
      for (let at = 0; at < bytes.length; at += 7) {
        const range = { path: "f", start: at, end: Math.min(at + 7, bytes.length) };
        passing.pass(range, bytes.slice(at, range.end));
      }
      read.length = 0;
      await embed(job, calibration as unknown as CalibrationJob, states, passing);
      expect(kept.slice(2)).toEqual(kept.slice(0, 2));
      expect(read).toEqual([]);
      expect(passing.read({ path: "f", start: 0, end: 4 })).toBeNull();
    },
  );

  it("takes rows from host memory one by one where states wait there, and lets messages in between batches", async () => {
    const calibration = calibrationOf(BATCHES);
    const { job } = jobOf();
    const rows = keepRows({ ...job, plan: { calibration } } as unknown as Job);
    const made: number[][] = [];
    const arrays = new Set<ArrayBuffer>();
    let [batches, answered] = [0, 0];
    const put: HiddenStates["put"] = async (_, values) => {
      expect(answered).toBe(batches++);
      arrays.add(values.buffer);
      tellLater(() => answered++);
      // The table's words are the ids, as bfloat16.
      const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
      made.push([...words].filter((__, at) => at % 2 === 0).map((word) => word >>> 16));
      await Promise.resolve();
    };
    const read = vi.spyOn(rows, "read");
    const states = { put, table: null, keepsArrays: true };
    await embed(job, calibration as unknown as CalibrationJob, states, rows);
    expect(made).toEqual([
      [9, 3, 3, 40],
      [7, 8, 9, 12],
    ]);
    expect(read).not.toHaveBeenCalled();
    expect(arrays.size).toBe(2);
  });

  it("keeps nothing where the rows that are used take too much memory, or do not pass by", () => {
    const { job } = jobOf();
    const calibration = {
      description: { embedding: { tensor: "e" }, hiddenSize: 2 },
      set: { sequences: [Uint32Array.of(1, 9)] },
    };
    const begun = { ...job, plan: { calibration } } as unknown as Job;
    const row = (id: number) => ({ path: "f", start: id * 4, end: id * 4 + 4 });
    const rows = keepRows(begun, 8);
    rows.pass(row(1), new Uint8Array(4).fill(1));
    expect(rows.read(row(1))).toBeNull();
    expect(keepRows(begun, 8).keeps).toBe(true);
    expect(keepRows(begun, 7).keeps).toBe(false);
  });

  it("reads close rows in one piece, once where that has begun before", async () => {
    const calibration = calibrationOf(BATCHES);
    const { job, reads } = jobOf();
    const { states, kept } = tableOf(8);
    const rows = keepRows({ ...job, plan: { calibration } } as unknown as Job);
    expect(rows.areClose).toBe(true);
    const begun = rows.bring(async (range) => await job.source.read(range));
    await embed(job, calibration as unknown as CalibrationJob, states, rows);
    await begun;
    expect(kept).toHaveLength(2);
    // From the first row that is used to the last.
    expect(reads).toEqual([[3 * 4, 41 * 4]]);
  });
});
