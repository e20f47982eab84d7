// A step with all that is known of it before a job begins.

import { leavesApart } from "../calibration/fit/fit-rewritings.ts";
import { type FileRange, mergeRanges, rangesBytes } from "../../formats/files/file-ranges.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { type CalibratedLayer, wantsSamples } from "../calibration/layers/calibrated-layer.ts";
import { layerWork, type LayerWork, type WorkDemand } from "../calibration/costs/calibration-work.ts";
import type { LayerSchedule } from "../calibration/fit/layer-schedule.ts";
import { type CalibrationJob, expertCalibration } from "../calibration/plan-calibrated-layers.ts";

/** A decoder layer that samples run through, or the head behind them. */
export interface PlannedLayer {
  /** Its place among the decoder's layers; the head's is behind them. */
  readonly index: number;
  /** Nothing reads what comes out of the last layer. */
  readonly isLast: boolean;
  readonly layer: CalibratedLayer;
  readonly schedule: LayerSchedule;
  /** Operations by phase. */
  readonly work: LayerWork;
  /** The same where nothing reads what comes out of it. */
  readonly lastWork: LayerWork;
  /** Operations of samples that only run through it. */
  readonly passingWork: number;
  /** Its tensors where samples only run through it, on their way to layers behind it; null of a layer that is compressed. */
  readonly passed: readonly SourceTensor[] | null;
}

export interface PlannedStep extends PlanStep {
  /** Its bytes in the source, merged, in file order. */
  readonly ranges: readonly FileRange[];
  readonly bytes: number;
  /** Null for what only streams. */
  readonly calibrated: PlannedLayer | null;
}

/** A step as it is without a text. */
export function streamedStep(step: PlanStep): PlannedStep {
  const tensors = tensorsOf({ ...step, calibrated: null });
  const ranges = mergeRanges(tensors.map(({ file, start, end }) => ({ path: file, start, end })));
  return { ...step, ranges, bytes: rangesBytes(ranges), calibrated: null };
}

/** The step with what samples do in it, if it is one of the decoder's layers. */
export function calibratedStep(step: PlannedStep, calibration: CalibrationJob): PlannedStep {
  return { ...step, calibrated: plannedLayer(step.name, calibration) };
}

/** The decoder layer that a step is, with how it fits the GPU and what it costs; null for other steps. */
function plannedLayer(step: string, calibration: CalibrationJob): PlannedLayer | null {
  const { layers, plan, set, options } = calibration;
  const index = layers.findIndex(({ description }) => description.name === step);
  const layer = layers[index];
  const schedule = plan.layers[index];
  if (!layer || !schedule) return null;
  const isLast = index === layers.length - 1;
  const samples = {
    lengths: set.sequences.map(({ length }) => length),
    experts: expertCalibration(options),
  };
  const workAs = (last: boolean) => layerWork(layer, { ...samples, ...runsOf(layer, schedule, last) });
  const lastWork = workAs(true);
  const { propagating } = layerWork(layer, { ...samples, passes: 0, leaving: 0, propagates: true });
  const work = isLast ? lastWork : workAs(false);
  return { index, isLast, layer, schedule, work, lastWork, passingWork: propagating, passed: null };
}

/** How often samples run through a layer, and how far. */
function runsOf(
  layer: CalibratedLayer,
  { rewrites, passes, leaves }: LayerSchedule,
  isLast: boolean,
): Pick<WorkDemand, "passes" | "leaving" | "propagates"> {
  const rewriting = rewrites.flat();
  // Ranges of activations take a pass of their own where no Hessian is wanted.
  const collecting = Math.max(passes.length, wantsSamples(layer) ? 1 : 0);
  const leaving = isLast ? 0 : rewriting.filter(({ propagates }) => propagates).length + (leaves ? 1 : 0);
  const apart = !isLast && leavesApart(layer, rewrites) ? 1 : 0;
  const all = collecting + rewriting.length;
  return { passes: all - leaving, leaving: leaving + apart, propagates: !isLast };
}

/** The step of a layer that samples run through on their way, `share` of them: it reads what it did, and makes nothing. */
export function passedStep(step: PlannedStep, share = 1): PlannedStep {
  const { calibrated } = step;
  if (!calibrated) return step;
  const work = { calibrating: 0, quantizing: 0, propagating: calibrated.passingWork * share };
  const passed = tensorsOf(step);
  return { ...step, copy: [], quantize: [], measured: [], calibrated: { ...calibrated, work, passed } };
}

/** The step of a layer where nothing reads what comes out of it. */
export function lastStep(step: PlannedStep): PlannedStep {
  const { calibrated } = step;
  if (!calibrated) return step;
  return { ...step, calibrated: { ...calibrated, isLast: true, work: calibrated.lastWork } };
}

/** The steps of a job whose samples end behind the decoder's last layer, whatever its recipe wants of the head. */
export function withoutHead(steps: readonly PlannedStep[]): readonly PlannedStep[] {
  const isHead = ({ calibrated }: PlannedStep) => calibrated?.layer.description.head !== undefined;
  if (!steps.some(isHead)) return steps;
  const streamed = steps.map((step) => (isHead(step) ? { ...step, calibrated: null } : step));
  const last = streamed.findLast(({ calibrated }) => calibrated !== null);
  return streamed.map((step) => (step === last ? lastStep(step) : step));
}

/** All tensors of the source that a step reads. */
export function tensorsOf({
  copy,
  quantize,
  calibrated,
}: Pick<PlannedStep, "copy" | "quantize" | "calibrated">): readonly SourceTensor[] {
  return calibrated?.passed ?? [...copy, ...quantize.map(({ tensor }) => tensor)];
}
