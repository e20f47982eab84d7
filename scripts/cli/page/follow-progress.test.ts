import { expect, it } from "vitest";
import type { Progress } from "../../../src/api/compressor-api.ts";
import { progressLines } from "./follow-progress.ts";

const progress = (more: Partial<Progress> = {}): Progress => ({
  phase: "calibrating",
  step: 2,
  steps: 5,
  stepName: "model.layers.0",
  detail: null,
  reportedModules: 0,
  bytesDone: 0,
  bytesTotal: 0,
  source: { downloadedBytes: 0, bytesPerSecond: 0, storedBytes: 0, waiting: null },
  gpuBytes: 0,
  gpuPeakBytes: 1024 ** 2,
  gpuBudgetBytes: 0,
  secondsElapsed: 0,
  secondsLeft: 0,
  paused: false,
  notice: null,
  ...more,
});

it("tells what is waited for before there is a job, and each thing once", () => {
  const lines = progressLines();
  const waiting = "waiting 8 s: models.example answers 503 (unavailable), attempt 2 of 7";
  expect(lines({ progress: null, waiting: null }, 0)).toEqual([]);
  expect(lines({ progress: null, waiting }, 1)).toEqual([waiting]);
  expect(lines({ progress: null, waiting }, 2)).toEqual([]);
  expect(lines({ progress: progress(), waiting: null }, 3)).toEqual([
    "calibrating model.layers.0 (step 2 of 5), GPU peak 1 MiB",
  ]);
  expect(lines({ progress: progress(), waiting }, 4)).toEqual([waiting]);
});

it("tells every step, and of what goes on in it a line in ten seconds", () => {
  const lines = progressLines();
  const told = (more: Partial<Progress>, now: number) =>
    lines({ progress: progress(more), waiting: null }, now);
  expect(told({ detail: "batch 1 of 16" }, 0)).toHaveLength(1);
  expect(told({ detail: "batch 2 of 16" }, 9_999)).toEqual([]);
  expect(told({ detail: "batch 3 of 16" }, 10_000)).toEqual([
    "calibrating model.layers.0 (step 2 of 5): batch 3 of 16, GPU peak 1 MiB",
  ]);
  expect(told({ step: 3, notice: "The GPU was lost; going on." }, 10_001)).toEqual([
    "calibrating model.layers.0 (step 3 of 5), GPU peak 1 MiB",
    "The GPU was lost; going on.",
  ]);
});
