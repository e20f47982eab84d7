import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Progress } from "../../api/compressor-api.ts";
import { createJobControl } from "./job-control.ts";
import { startProgress } from "./progress.ts";

const SOURCE = { downloadedBytes: 0, bytesPerSecond: 0, storedBytes: 0, waiting: null };
const LAYER = { calibrating: 50, quantizing: 30, propagating: 20 };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A job of one layer, planned to take 100 s, and what it reported last. */
function jobOfOneLayer() {
  const control = createJobControl();
  const time = { secondsPerByte: 0, streaming: 0, layers: new Map([[0, LAYER]]) };
  const totals = { steps: 1, bytes: 1000, budgetBytes: 0, time };
  const reported: Progress[] = [];
  const read = async () => await Promise.resolve(SOURCE);
  const progress = startProgress(totals, control, read, (report) => reported.push(report));
  return { control, progress, last: () => reported.at(-1) };
}

it("counts a pause neither as time that passed nor as time that is left", async () => {
  const { control, progress, last } = jobOfOneLayer();
  progress.tell({ phase: "calibrating" });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(last()).toMatchObject({ paused: false, secondsElapsed: 10, secondsLeft: 90 });
  control.pause();
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(last()).toMatchObject({ paused: true, secondsElapsed: 10, secondsLeft: 90 });
  control.resume();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(last()).toMatchObject({ paused: false, secondsElapsed: 15, secondsLeft: 85 });
  progress.stop();
  expect(progress.seconds()).toEqual({ starting: 0, calibrating: 15, total: 15 });
});

it("is paused once however often that is asked, and goes on when it is cancelled", async () => {
  const { control, progress } = jobOfOneLayer();
  control.pause();
  await vi.advanceTimersByTimeAsync(1_000);
  control.pause();
  await vi.advanceTimersByTimeAsync(1_000);
  control.cancel();
  await vi.advanceTimersByTimeAsync(3_000);
  progress.stop();
  expect(control.paused).toBe(false);
  expect(progress.seconds()).toMatchObject({ total: 3 });
});
