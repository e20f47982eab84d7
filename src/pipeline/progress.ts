// What a running job tells the page, a few times a second.

import type { GpuMemory } from "../gpu/memory.ts";
import type { Phase, Progress, SourceProgress } from "./api.ts";

/** Milliseconds between two reports: quick enough to look alive, slow enough to cost nothing. */
const REPORT_MS = 200;
/** The rate follows the last half minute more than what was before. */
const RATE_HALF_LIFE_SECONDS = 30;

export interface ProgressLog {
  phase(phase: Phase): void;
  step(index: number, name: string): void;
  /** Source bytes that are done with, since the last call. */
  finished(bytes: number): void;
  notice(text: string | null): void;
  watch(memory: GpuMemory): void;
  paused(paused: boolean): void;
  /** Seconds spent in each phase so far. */
  seconds(): Record<string, number>;
  stop(): void;
}

/** Starts reporting; `readSource` is asked before each report. */
export function startProgress(
  totals: { readonly steps: number; readonly bytes: number; readonly budgetBytes: number },
  readSource: () => Promise<SourceProgress>,
  report: (progress: Progress) => void,
): ProgressLog {
  const started = performance.now();
  const spent = new Map<string, number>();
  const rate = createRate(started);
  let state: Omit<Progress, "source" | "gpuBytes" | "gpuPeakBytes" | "secondsElapsed" | "secondsLeft"> = {
    phase: "starting",
    step: 0,
    steps: totals.steps,
    stepName: "",
    bytesDone: 0,
    bytesTotal: totals.bytes,
    gpuBudgetBytes: totals.budgetBytes,
    paused: false,
    notice: null,
  };
  let phaseStarted = started;
  let memory: GpuMemory | null = null;
  const endPhase = (now: number) => {
    spent.set(state.phase, (spent.get(state.phase) ?? 0) + (now - phaseStarted) / 1000);
    phaseStarted = now;
  };
  const send = async () => {
    const source = await readSource();
    const left = Math.max(state.bytesTotal - state.bytesDone, 0);
    const bytesPerSecond = rate.perSecond();
    report({
      ...state,
      source,
      gpuBytes: memory?.bytes ?? 0,
      gpuPeakBytes: memory?.peakBytes ?? 0,
      secondsElapsed: (performance.now() - started) / 1000,
      secondsLeft: bytesPerSecond > 0 ? left / bytesPerSecond : null,
    });
  };
  const timer = setInterval(() => {
    // A report that fails is no reason to end the job: the source worker's own failure will.
    send().catch(() => undefined);
  }, REPORT_MS);
  return {
    phase(phase) {
      endPhase(performance.now());
      state = { ...state, phase };
    },
    step(index, name) {
      state = { ...state, step: index + 1, stepName: name };
    },
    finished(bytes) {
      state = { ...state, bytesDone: state.bytesDone + bytes };
      rate.add(bytes);
    },
    notice(notice) {
      state = { ...state, notice };
    },
    watch(watched) {
      memory = watched;
    },
    paused(paused) {
      state = { ...state, paused };
    },
    seconds() {
      endPhase(performance.now());
      const total = (performance.now() - started) / 1000;
      return { ...Object.fromEntries(spent), total };
    },
    stop: () => clearInterval(timer),
  };
}

/** Bytes per second with exponential forgetting, so that the time left corrects itself. */
function createRate(started: number): { add(bytes: number): void; perSecond(): number } {
  let bytes = 0;
  let seconds = 0;
  let last = started;
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
