// Which sets of modules a survey quantizes alone, on which tokens, and what that takes.

import { hiddenBytesPerToken } from "../../calibrate/hidden-states.ts";
import { invariant } from "../../errors.ts";
import { fusedModules } from "../../plan/notes/server-notes.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { layerWork } from "../calibration/costs/calibration-work.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import type { CompressionPlan } from "./compression-plan.ts";
import type { RunPlan } from "./plan-run.ts";
import { type PlannedLayer, type PlannedStep, withoutHead } from "./planned-step.ts";

/** Tokens of which hidden states are followed to the end: changes are compared token by token, so that few tell much. */
const MAX_TOKENS = 2048;
/** Host memory for the states of all trials. */
const MAX_BYTES = 1024 ** 3;
const MIN_TOKENS = 64;

export interface TrialPlan {
  /** Tokens of each sequence, the first ones of the first batch; of the last sequence perhaps its beginning alone. */
  readonly lengths: readonly number[];
  /** Sets of modules that have one scheme, by the step that they are in. */
  readonly sets: ReadonlyMap<number, readonly (readonly string[])[]>;
  /** Operations by step. */
  readonly work: ReadonlyMap<number, number>;
}

/** Plans the trials of a calibrated run. */
export function planTrials({
  steps,
  calibration,
}: Pick<CompressionPlan, "steps" | "calibration">): TrialPlan {
  invariant(calibration, "a survey calibrates");
  const layers = steps.filter(({ calibrated }) => calibrated !== null);
  const sets = new Map(layers.map(({ index, quantize }) => [index, setsOf(quantize)]));
  const count = [...sets.values()].reduce((sum, own) => sum + own.length, 0);
  const perToken = hiddenBytesPerToken({ hiddenSize: calibration.plan.hidden.size, dtype: "F32" });
  const room = Math.floor(MAX_BYTES / (perToken * Math.max(count, 1)));
  const lengths = firstTokens(calibration, Math.min(MAX_TOKENS, Math.max(room, MIN_TOKENS)));
  return { lengths, sets, work: workOf(layers, sets, lengths) };
}

/** The run with what its trials take: a survey propagates samples and trials, and leaves the head as it is. */
export function withTrials(run: RunPlan): RunPlan {
  const layers = withoutHead(run.lead.steps);
  const { work: trials } = planTrials({ ...run.lead, steps: layers });
  const steps = layers.map((step): PlannedStep => {
    const { calibrated } = step;
    if (!calibrated) return step;
    const { work } = calibrated;
    const propagating = work.propagating + (trials.get(step.index) ?? 0);
    return { ...step, calibrated: { ...calibrated, work: { ...work, propagating } } };
  });
  return { ...run, lead: { ...run.lead, steps } };
}

/** Trials of a layer, and those of earlier layers that go on through it, by step. */
function workOf(
  layers: readonly PlannedStep[],
  sets: TrialPlan["sets"],
  lengths: readonly number[],
): Map<number, number> {
  const works = new Map<number, number>();
  let alive = 1;
  for (const { index, calibrated } of layers) {
    const own = sets.get(index)?.length ?? 0;
    if (calibrated) works.set(index, (alive + own) * forwardWork(calibrated, lengths));
    alive += own;
  }
  return works;
}

/** Operations of these tokens' way through a layer. */
function forwardWork({ layer }: PlannedLayer, lengths: readonly number[]): number {
  return layerWork(layer, { lengths, experts: "routed", passes: 0, leaving: 0, propagates: true })
    .propagating;
}

function setsOf(tasks: readonly QuantizeTask[]): string[][] {
  const names = tasks.map(({ module }) => module);
  const fused = fusedModules(names);
  const inSet = new Set(fused.flat());
  return [...fused, ...names.filter((name) => !inSet.has(name)).map((name) => [name])];
}

function firstTokens({ plan, set }: CalibrationJob, tokens: number): number[] {
  const [batch] = plan.batches;
  invariant(batch, "there are samples");
  const lengths: number[] = [];
  let left = tokens;
  for (const { length } of set.sequences.slice(batch.first, batch.first + batch.starts.length - 1)) {
    if (left === 0) break;
    lengths.push(Math.min(length, left));
    left -= Math.min(length, left);
  }
  return lengths;
}
