// What a running job tells the page, a few times a second.

import type { GpuMemory } from "../gpu/memory.ts";
import type { ModuleReport, Phase, Progress, SourceProgress } from "./api.ts";

/** Milliseconds between two reports: quick enough to look alive, slow enough to cost nothing. */
const REPORT_MS = 200;
/** The rate follows the last half minute more than what was before. */
const RATE_HALF_LIFE_SECONDS = 30;

/** What the conductor says of itself; everything else in a report is measured. */
type Told = Pick<Progress, "phase" | "step" | "stepName" | "detail" | "paused" | "notice">;

export interface ProgressLog {
  tell(change: Partial<Told>): void;
  /** Source bytes that are done with, since the last call. */
  finished(bytes: number): void;
  /** Source bytes that an earlier run finished: they say nothing of this run's rate. */
  skipped(bytes: number): void;
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
}

/** Starts reporting; `readSource` is asked before each report. */
export function startProgress(
  totals: ProgressTotals,
  readSource: () => Promise<SourceProgress>,
  report: (progress: Progress) => void,
): ProgressLog {
  const clock = createPhaseClock();
  const rate = createRate();
  let told: Told = { phase: "starting", step: 0, stepName: "", detail: null, paused: false, notice: null };
  let bytesDone = 0;
  let memory: GpuMemory | null = null;
  const reports: ModuleReport[] = [];
  const send = async () => {
    const perSecond = rate.perSecond();
    report({
      ...told,
      steps: totals.steps,
      reportedModules: reports.length,
      bytesDone,
      bytesTotal: totals.bytes,
      source: await readSource(),
      gpuBytes: memory?.bytes ?? 0,
      gpuPeakBytes: memory?.peakBytes ?? 0,
      gpuBudgetBytes: totals.budgetBytes,
      secondsElapsed: clock.elapsed(),
      secondsLeft: perSecond > 0 ? Math.max(totals.bytes - bytesDone, 0) / perSecond : null,
    });
  };
  // A report that fails is no reason to end the job: the source worker's own failure will.
  const timer = setInterval(() => void send().catch(() => undefined), REPORT_MS);
  return {
    tell(change) {
      if (change.phase) clock.enter(change.phase);
      told = { ...told, ...change };
    },
    finished(bytes) {
      bytesDone += bytes;
      rate.add(bytes);
    },
    skipped(bytes) {
      bytesDone += bytes;
    },
    watch(watched) {
      memory = watched;
    },
    seconds: () => clock.seconds(),
    addReports: (added) => void reports.push(...unknownIn(reports, added)),
    reports,
    stop: () => clearInterval(timer),
  };
}

/** After a lost GPU a layer may be done, and told of, a second time. */
function unknownIn(reports: readonly ModuleReport[], added: readonly ModuleReport[]): ModuleReport[] {
  const known = new Set(reports.map(({ module }) => module));
  return added.filter(({ module }) => !known.has(module));
}

/** Adds up the seconds spent in each phase. */
function createPhaseClock() {
  const started = performance.now();
  const spent = new Map<string, number>();
  let phase: Phase = "starting";
  let since = started;
  const close = () => {
    const now = performance.now();
    spent.set(phase, (spent.get(phase) ?? 0) + (now - since) / 1000);
    since = now;
  };
  const elapsed = () => (performance.now() - started) / 1000;
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

/** Bytes per second with exponential forgetting, so that the time left corrects itself. */
function createRate(): { add(bytes: number): void; perSecond(): number } {
  let bytes = 0;
  let seconds = 0;
  let last = performance.now();
  const decay = () => {
    const now = performance.now();
    const elapsed = (now - last) / 1000;
    const factor = 0.5 ** (elapsed / RATE_HALF_LIFE_SECONDS);
    bytes *= factor;
    seconds = seconds * factor + elapsed;
    last = now;
  };
  return {
    add(added) {
      decay();
      bytes += added;
    },
    perSecond() {
      decay();
      return seconds > 0 ? bytes / seconds : 0;
    },
  };
}
