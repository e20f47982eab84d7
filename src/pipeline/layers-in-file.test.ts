// Layers that the page's memory does not hold, without a browser: what a job makes of them is what it would make of them in memory,
// whatever happens to it on its way, and nothing of them stays behind.

import { describe, expect, it } from "vitest";
import type { Machine } from "../testing/jobs/machine.ts";
import { planFixture, type PlannedJob } from "../testing/jobs/plan-fixture.ts";
import { createJobControl } from "./job/job-control.ts";

const METHOD = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const FILE = "layer-weights.bin";
/** Who worked with the disk may say it in words. */
const CRASHED = { name: expect.stringMatching(/^(Crash|StorageError)$/) as string };

/** What a job of experts does to its layers, within so much of the GPU that their weights come from there and go back. */
const WAYS = [
  { what: "by GPTQ in one pass", recipe: "GPTQModifier: {scheme: W8A8", kibibytes: 1156, passes: 1 },
  { what: "by GPTQ in several passes", recipe: "GPTQModifier: {scheme: W8A8", kibibytes: 1016, passes: 3 },
  {
    what: "by AWQ and GPTQ",
    recipe: "AWQModifier: {n_grid: 3}, GPTQModifier: {scheme: W8A8",
    kibibytes: 64 * 1024,
    passes: 1,
  },
] as const;

type Changes = Parameters<typeof planFixture>[3];

async function planned(recipe: string, changes: Changes = {}): Promise<PlannedJob> {
  const yaml = `s_stage: {q_modifiers: {${recipe}, ignore: [lm_head]}}}`;
  return await planFixture("qwen3-moe", "", METHOD, { yaml, ...changes });
}

/** Whether a machine's disk holds the file of layers at work, and what is in it. */
function layerFile({ disk }: Machine): Uint8Array | null {
  return [...disk.files()].find(([path]) => path.endsWith(FILE))?.[1] ?? null;
}

/** The same job with no room for layers in memory, and with room for a part of them. */
async function apart(recipe: string, changes: Changes): Promise<Record<"all" | "some", PlannedJob>> {
  const all = await planned(recipe, { ...changes, hostBudgetBytes: 0 });
  const { layerBytes, fileBytes } = placeOf(all);
  expect(fileBytes).toBeGreaterThanOrEqual(layerBytes);
  const some = await planned(recipe, { ...changes, hostBudgetBytes: Math.floor(layerBytes / 2) });
  expect(placeOf(some).fileBytes).toBeGreaterThan(layerBytes / 2);
  expect(placeOf(some).fileBytes).toBeLessThan(fileBytes);
  return { all, some };
}

function placeOf({ plan }: PlannedJob) {
  const place = plan.calibration?.plan.layerPlace;
  if (!place) throw new Error("the job calibrates");
  return place;
}

describe.each(WAYS)("layers in a file, $what", ({ recipe, kibibytes, passes }) => {
  it("end with the bytes that they end with in memory, after a crash, too", async () => {
    const changes = { gpuBudgetBytes: kibibytes * 1024 };
    const inMemory = await planned(recipe, changes);
    expect(placeOf(inMemory).fileBytes).toBe(0);
    const schedules = inMemory.plan.calibration?.plan.layers ?? [];
    expect(schedules.map((each) => [each.passes.length, each.overlap])).toEqual([
      [passes, false],
      [passes, false],
    ]);
    const whole = inMemory.machine();
    await whole.run();
    const { all, some } = await apart(recipe, changes);
    for (const job of [all, some]) {
      const machine = job.machine();
      await machine.run();
      expect(machine.output()).toEqual(whole.output());
      expect(layerFile(machine)).toBeNull();
    }
    const machine = some.machine();
    machine.disk.failAt(Math.floor(whole.disk.operations * 0.8), "crash");
    await expect(machine.run()).rejects.toMatchObject(CRASHED);
    machine.disk.recover();
    await machine.run();
    expect(machine.output()).toEqual(whole.output());
    expect(layerFile(machine)).toBeNull();
  });
});

describe("the file of layers at work", () => {
  const [{ recipe, kibibytes }] = WAYS;
  const changes = { gpuBudgetBytes: kibibytes * 1024 };

  it("stays after a crash until the job goes on, whether it has layers in a file then or not", async () => {
    const { all } = await apart(recipe, changes);
    const machine = all.machine();
    machine.disk.failAt(120, "crash");
    await expect(machine.run()).rejects.toMatchObject(CRASHED);
    expect(layerFile(machine)?.some((byte) => byte !== 0)).toBe(true);
    machine.disk.recover();
    const after = (await planned(recipe, changes)).machine(machine.disk);
    await after.run();
    expect(layerFile(after)).toBeNull();
  });

  it("goes when a job is cancelled, and when the disk is full, which a sentence tells", async () => {
    const { all } = await apart(recipe, changes);
    const cancelled = all.machine();
    const control = createJobControl();
    let passed = 0;
    const checkpoint = async () => {
      if (++passed === 60) control.cancel();
      await control.checkpoint();
    };
    await expect(cancelled.run({ ...control, checkpoint })).rejects.toMatchObject({ name: "AbortError" });
    expect(layerFile(cancelled)).toBeNull();
    const full = all.machine();
    full.disk.fillAt(FILE);
    await expect(full.run()).rejects.toThrow(
      /^The file of layers at work layer-weights\.bin could not take .*the disk is full.*Free space on the disk/,
    );
    expect(layerFile(full)).toBeNull();
    full.disk.recover();
    await full.run();
    expect(layerFile(full)).toBeNull();
  });
});
