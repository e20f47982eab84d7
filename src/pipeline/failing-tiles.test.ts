// Tiles are at work side by side, of two steps even: wherever one fails, none is at work when buffers are given back, the failure that
// came first is told, and the job goes on from there.

import { beforeAll, describe, expect, it } from "vitest";
import { StorageError } from "../errors.ts";
import type { FileRange } from "../formats/files/file-ranges.ts";
import type { Machine } from "../testing/jobs/machine.ts";
import { planFixture, type PlannedJob } from "../testing/jobs/plan-fixture.ts";
import { createJobControl, type JobControl } from "./job/job-control.ts";

/** Between two reads, submits or operations of the disk that are tried: tiles are alike. */
const STEP = 5;
const ROUNDING = { name: "QuantizationModifier" } as const;

type OnRead = (read: number, range: FileRange) => Promise<void>;

/** What a run ends with: its failure, or null. */
async function failureOf(running: Promise<unknown>): Promise<unknown> {
  return await running.then(
    () => null,
    (error: unknown) => error,
  );
}

function expectAllGivenBack({ gpu }: Machine, where: string): void {
  expect(new Set([...gpu.leftBytes, gpu.liveBytes]), `bytes left, ${where}`).toEqual(new Set([0]));
  expect(gpu.usedBehind, `buffers used when they were given back, ${where}`).toEqual([]);
}

const never = async () => await new Promise<void>(() => undefined);

describe.each([
  { what: "a result", scheme: "W4A16", changes: { groupSize: 32 } },
  {
    what: "two results",
    scheme: "W8A8",
    changes: { beside: [{ scheme: "W4A16", groupSize: 32, method: ROUNDING }] },
  },
])("a failure among tiles of $what", ({ scheme, changes }) => {
  let job: PlannedJob;
  let output: ReadonlyMap<string, string>;
  let gpuSubmits = 0;
  let diskOperations = 0;
  let sourceReads = 0;
  let reads = 0;
  let onRead: OnRead | null = null;

  beforeAll(async () => {
    job = await planFixture("llama", scheme, ROUNDING, {
      ...changes,
      onRead: async (range) => await onRead?.(++reads, range),
    });
    onRead = async () => await Promise.resolve();
    const whole = job.machine();
    await whole.run();
    output = whole.output();
    [gpuSubmits, diskOperations, sourceReads] = [whole.gpu.submits, whole.disk.operations, reads];
    expectAllGivenBack(whole, "when nothing fails");
  });

  /** Runs on a new machine with something in the way, then on the same one without; the failure of the first run. */
  async function failureThenWhole(
    where: string,
    hinder: (machine: Machine) => OnRead | null,
    control?: JobControl,
  ) {
    const machine = job.machine();
    reads = 0;
    onRead = hinder(machine);
    const failure = await failureOf(machine.run(control));
    expectAllGivenBack(machine, where);
    onRead = null;
    machine.recover();
    await machine.run();
    expect({ where, output: machine.output() }).toEqual({ where, output });
    return failure;
  }

  it("is the source's wherever it fails", async () => {
    for (let failing = 1; failing <= sourceReads; failing += STEP) {
      const failure = await failureThenWhole(`read ${failing}`, () => async (read) => {
        if (read === failing) await Promise.reject(new Error(`Read ${failing} fails.`));
      });
      expect(failure).toEqual(new Error(`Read ${failing} fails.`));
    }
  });

  it("is told at once, though tiles beside it wait for bytes that never come", async () => {
    const first = job.plan.steps.find(({ quantize }) => quantize.length > 1);
    const starts = first?.quantize.map(({ tensor }) => tensor.start) ?? [];
    const [last] = starts.slice(-1);
    const failure = await failureThenWhole("one of many reads", () => async (_read, { start }) => {
      if (start === last) await Promise.reject(new Error("The last one fails."));
      if (starts.includes(start)) await never();
    });
    expect(failure).toEqual(new Error("The last one fails."));
  });

  it("is told at once, though the job is paused", async () => {
    const control = createJobControl();
    const hinder = () => async () => {
      control.pause();
      await Promise.reject(new Error("The paused source fails."));
    };
    const failure = await failureThenWhole("a paused job", hinder, control);
    expect(failure).toEqual(new Error("The paused source fails."));
  });

  it("is the disk's wherever that is full", async () => {
    let last = 0;
    for (let operation = 1; operation <= diskOperations; operation += STEP) {
      const failure = await failureThenWhole(`operation ${operation}`, ({ disk }) => {
        disk.failAt(operation, "full");
        return null;
      });
      // At the end nothing may be left that takes room.
      expect(failure ?? new StorageError("")).toBeInstanceOf(StorageError);
      if (failure) last = operation;
    }
    expect(last).toBeGreaterThan(diskOperations / 2);
  });

  it("is none where the GPU is lost, wherever that is", async () => {
    for (let submit = 1; submit <= gpuSubmits; submit += STEP) {
      const failure = await failureThenWhole(`submit ${submit}`, ({ gpu }) => {
        gpu.loseAt(submit);
        return null;
      });
      expect(failure, `submit ${submit}`).toBeNull();
    }
  });
});
