// The time that a running job has left: what was planned, corrected by how long the same kind of work took so far. A plan
// that is wrong by a factor is found out within a few per cent of the work, without a jump at any single report.

import type { LayerWork } from "../calibration/costs/calibration-work.ts";
import { type PlannedTime, sumOfPhases } from "../planning/plan-time.ts";

export type WorkKind = keyof LayerWork | "streaming";

const COMPUTED = ["calibrating", "quantizing", "propagating"] as const;
/** What was planned counts as much as so much of the work, measured. */
const PRIOR_SHARE = 0.005;
/** A network's rate follows the last half minute more than what was before; a GPU's is steadier. */
const STREAMING_HALF_LIFE_SECONDS = 30;
const COMPUTING_HALF_LIFE_SECONDS = 600;

export interface TimeLeft {
  /** So much of a calibrated step's phase (0 to 1) is done; the time since the last call went into it. */
  worked(step: number, phase: keyof LayerWork, share: number): void;
  /** So many bytes of steps that only stream are done. */
  streamed(bytes: number): void;
  /** A calibrated step begins, or begins again after a lost GPU: it and those behind it are to do. */
  begin(step: number): void;
  /** An earlier run finished this step. */
  skip(step: number, bytes: number): void;
  seconds(): number;
}

/** @param now milliseconds of a clock that stands still while the job is paused */
export function createTimeLeft(planned: PlannedTime, now: () => number): TimeLeft {
  const todo = new Map(planned.layers);
  let streaming = planned.streaming;
  const clock = createLaps(now);
  const rates = createRates(planned);
  const remaining = () => {
    const layers = [...todo.values()];
    const computed = COMPUTED.map((kind) => rates.factor(kind) * sumOf(layers, kind));
    return rates.factor("streaming") * streaming + computed.reduce((sum, seconds) => sum + seconds, 0);
  };
  return {
    worked(step, phase, share) {
      const whole = planned.layers.get(step)?.[phase] ?? 0;
      const left = todo.get(step);
      if (left) todo.set(step, { ...left, [phase]: Math.max(left[phase] - whole * share, 0) });
      rates.add(phase, whole * share, clock.lap());
    },
    streamed(bytes) {
      const seconds = bytes * planned.secondsPerByte;
      streaming = Math.max(streaming - seconds, 0);
      rates.add("streaming", seconds, clock.lap());
    },
    begin(step) {
      for (const [index, layer] of planned.layers) if (index >= step) todo.set(index, layer);
    },
    skip(step, bytes) {
      if (todo.delete(step)) return;
      streaming = Math.max(streaming - bytes * planned.secondsPerByte, 0);
    },
    // Between two reports time passes; a report that is late must not bring it to nothing.
    seconds() {
      const left = remaining();
      return Math.max(left - clock.sinceLap(), left / 2);
    },
  };
}

function sumOf(layers: readonly LayerWork[], kind: keyof LayerWork): number {
  return layers.reduce((sum, layer) => sum + layer[kind], 0);
}

/** Seconds planned and seconds measured of one kind of work, the older the less. */
interface Rate {
  prior: number;
  planned: number;
  measured: number;
}

/** How many times longer than planned each kind of work takes. */
function createRates(time: PlannedTime) {
  const layers = [...time.layers.values()];
  const all = rateOf(layers.reduce((sum, layer) => sum + sumOfPhases(layer), 0));
  const streaming = rateOf(time.streaming);
  const own = {
    calibrating: rateOf(sumOf(layers, "calibrating")),
    quantizing: rateOf(sumOf(layers, "quantizing")),
    propagating: rateOf(sumOf(layers, "propagating")),
  };
  return {
    add(kind: WorkKind, planned: number, measured: number) {
      if (kind === "streaming") return add(streaming, planned, measured, STREAMING_HALF_LIFE_SECONDS);
      add(all, planned, measured, COMPUTING_HALF_LIFE_SECONDS);
      add(own[kind], planned, measured, COMPUTING_HALF_LIFE_SECONDS);
    },
    /** A phase that was not measured yet is as wrong as the others. */
    factor(kind: WorkKind): number {
      return kind === "streaming" ? factorOf(streaming, 1) : factorOf(own[kind], factorOf(all, 1));
    },
  };
}

function rateOf(planned: number): Rate {
  return { prior: planned * PRIOR_SHARE, planned: 0, measured: 0 };
}

function add(rate: Rate, planned: number, measured: number, halfLife: number): void {
  const keep = 0.5 ** (measured / halfLife);
  rate.prior *= keep;
  rate.planned = rate.planned * keep + planned;
  rate.measured = rate.measured * keep + measured;
}

function factorOf({ prior, planned, measured }: Rate, assumed: number): number {
  if (planned === 0 || measured === 0) return assumed;
  // A geometric mean: a plan may be wrong by orders of magnitude, on either side.
  const weight = planned / (prior + planned);
  return assumed ** (1 - weight) * (measured / planned) ** weight;
}

/** Seconds between calls. */
function createLaps(now: () => number) {
  let last = now();
  const sinceLap = () => (now() - last) / 1000;
  return {
    sinceLap,
    lap(): number {
      const seconds = sinceLap();
      last = now();
      return seconds;
    },
  };
}
