// What a running job tells the page, a few times a second.

import type { GpuMemory } from "../../gpu/memory.ts";
import type { ModuleReport, Phase, Progress } from "../../api/compressor-api.ts";
import type { LayerWork } from "../calibration/costs/calibration-work.ts";
import type { PlannedTime } from "../planning/plan-time.ts";
import type { JobControl } from "./job-control.ts";
import { createTimeLeft } from "./time-left.ts";
import type { SourceProgress } from "../../api/source-api.ts";

/** Milliseconds between two reports: quick enough to look alive, slow enough to cost nothing. */
const REPORT_MS = 200;

/** What the conductor says of itself; everything else in a report is measured. */
export type Told = Pick<Progress, "phase" | "step" | "stepName" | "detail" | "notice">;

export interface ProgressLog {
  tell(change: Partial<Told>): void;
  /** Source bytes that are done with, since the last call. */
  finished(bytes: number): void;
  /** A calibrated step begins, or begins again. */
  began(step: number): void;
  /** So much of a calibrated step's phase (0 to 1) is done with, and source bytes in proportion. */
  worked(step: number, phase: keyof LayerWork, share: number, bytes: number): void;
  /** A step that an earlier run finished, and its source bytes: they say nothing of this run's rate. */
  skipped(step: number, bytes: number): void;
  watch(memory: GpuMemory): void;
  /** Seconds spent in each phase so far. */
  seconds(): Record<string, number>;
  addReports(reports: readonly ModuleReport[]): void;
  readonly reports: readonly ModuleReport[];
  stop(): void;
}

export interface ProgressTotals {
  readonly steps: number;
  readonly bytes: number;
  readonly budgetBytes: number;
  readonly time: PlannedTime;
}

/** Starts reporting; `readSource` is asked before each report. What is timed is work: a pause counts nowhere. */
export function startProgress(
  totals: ProgressTotals,
  control: Pick<JobControl, "paused" | "now">,
  readSource: () => Promise<SourceProgress>,
  report: (progress: Progress) => void,
): ProgressLog {
  const clock = createPhaseClock(control.now);
  const work = createWorkLog(totals.time, control.now);
  let told: Told = { phase: "starting", step: 0, stepName: "", detail: null, notice: null };
  let memory: GpuMemory | null = null;
  const reports: ModuleReport[] = [];
  const send = async () => {
    report({
      ...told,
      steps: totals.steps,
      reportedModules: reports.length,
      bytesDone: work.bytes(),
      bytesTotal: totals.bytes,
      source: await readSource(),
      gpuBytes: memory?.bytes ?? 0,
      gpuPeakBytes: memory?.peakBytes ?? 0,
      gpuBudgetBytes: totals.budgetBytes,
      secondsElapsed: clock.elapsed(),
      secondsLeft: work.secondsLeft(),
      paused: control.paused,
    });
  };
  // A report that fails is no reason to end the job: the source worker's own failure will.
  const timer = setInterval(() => void send().catch(() => undefined), REPORT_MS);
  return {
    tell(change) {
      if (change.phase) clock.enter(change.phase);
      told = { ...told, ...change };
    },
    ...work.log,
    watch(watched) {
      memory = watched;
    },
    seconds: () => clock.seconds(),
    addReports: (added) => void reports.push(...unknownIn(reports, added)),
    reports,
    stop: () => clearInterval(timer),
  };
}

/** What is done, in bytes and in time. */
function createWorkLog(planned: PlannedTime, now: () => number) {
  const time = createTimeLeft(planned, now);
  let bytesDone = 0;
  const log: Pick<ProgressLog, "finished" | "began" | "worked" | "skipped"> = {
    finished(bytes) {
      bytesDone += bytes;
      time.streamed(bytes);
    },
    began: (step) => time.begin(step),
    worked(step, phase, share, bytes) {
      bytesDone += bytes;
      time.worked(step, phase, share);
    },
    skipped(step, bytes) {
      bytesDone += bytes;
      time.skip(step, bytes);
    },
  };
  return {
    log,
    bytes: () => bytesDone,
    secondsLeft: () => time.seconds(),
  };
}

/** After a lost GPU a layer may be done, and told of, a second time. */
function unknownIn(reports: readonly ModuleReport[], added: readonly ModuleReport[]): ModuleReport[] {
  const known = new Set(reports.map(({ module }) => module));
  return added.filter(({ module }) => !known.has(module));
}

/** Adds up the seconds spent in each phase. */
function createPhaseClock(now: () => number) {
  const started = now();
  const spent = new Map<string, number>();
  let phase: Phase = "starting";
  let since = started;
  const close = () => {
    const ended = now();
    spent.set(phase, (spent.get(phase) ?? 0) + (ended - since) / 1000);
    since = ended;
  };
  const elapsed = () => (now() - started) / 1000;
  return {
    elapsed,
    enter(next: Phase) {
      close();
      phase = next;
    },
    seconds(): Record<string, number> {
      close();
      return { ...Object.fromEntries(spent), total: elapsed() };
    },
  };
}
