// The decoder layers of a calibrated job one after the other. The samples' hidden states go from layer to layer, and to a file
// when a crash would cost more than writing them.

import { createLifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { type Fold, type StoredFold, storeFolds } from "../../formats/weights/fold.ts";
import { type Gpu, openGpu } from "../../gpu/gpu.ts";
import { tuneMatmul } from "../../gpu/matmul/tune-matmul.ts";
import { removeHiddenFiles, removeLayerFile } from "../../offload/job-file.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import type { MappingReport } from "../../quantize/rewriter.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { isDone } from "../job/done-steps.ts";
import type { Job, RunOutput } from "../job/job.ts";
import { finishedGenerations, isFinished, recordStep } from "../job/job-journal.ts";
import { createStepTraffic, type StepTraffic } from "../job/step-traffic.ts";
import { keepGpuSpeed } from "../planning/gpu-speed.ts";
import { sumOfPhases } from "../planning/plan-time.ts";
import { forwardRecords, openForwardProducts, takeForwardProducts } from "./forward-products.ts";
import { beginReading, type BegunReading } from "./onload/begin-reading.ts";
import type { HostLayers } from "./onload/host-layers.ts";
import type { LayerTurn } from "./layer-at-work.ts";
import { type MadeLayer, outputsOf } from "./layer-outputs.ts";
import { layerProgress } from "./layer-progress.ts";
import { openServices } from "./open-services.ts";
import { prepareKernels } from "./prepare-kernels.ts";
import type { SequentialServices } from "./services.ts";
import { createSnapshotClock, type SnapshotClock } from "./states/snapshot-clock.ts";
import { createWeightsAhead, type WeightsAhead } from "./onload/weights-ahead.ts";
import { beginJointly } from "../../joint-work.ts";
import { waitLater } from "../../wait-later.ts";

/** What is known of a layer that is done. */
export interface CompressedLayer {
  readonly mappings: readonly MappingReport[];
  /** What modifiers folded into its tensors. */
  readonly folds: readonly Fold[];
  /** True if a crash behind this layer could go on from there. */
  readonly recordable: boolean;
}

/** What is done to each layer; see `compress.ts`. */
export type CompressLayer = (turn: LayerTurn) => Promise<CompressedLayer>;

/** Lets `compressLayer` do those decoder layers that the journal does not know. */
export async function runSequential(
  job: Job,
  steps: readonly PlannedStep[],
  output: RunOutput,
  compressLayer: CompressLayer,
): Promise<void> {
  const calibration = job.plan.calibration;
  invariant(calibration, "a calibrated step belongs to a calibrated job");
  await removeLayerFile(output.folder);
  if (steps.every((step) => isDone(output, job.plan.steps, step))) return;
  const walk = { job, calibration, steps, output, compressLayer };
  const traffic = createStepTraffic(job, output);
  await using reading = await beginReading(walk, traffic);
  try {
    await runOnGpu(walk, reading, traffic);
  } finally {
    traffic.abort();
  }
}

interface Walk {
  readonly job: Job;
  readonly calibration: CalibrationJob;
  readonly steps: readonly PlannedStep[];
  readonly output: RunOutput;
  readonly compressLayer: CompressLayer;
}

async function runOnGpu(walk: Walk, reading: BegunReading, traffic: StepTraffic): Promise<void> {
  const { job, calibration, output } = walk;
  using gpu = await openGpu(job.options.gpuBudgetBytes);
  job.progress.watch(gpu.memory);
  await tuneMatmul(gpu);
  const wanted = { products: calibration.options.forward_products, strassen: calibration.plan.strassen };
  const checkProducts = takeForwardProducts(job, output.journal);
  const units = await openForwardProducts(gpu, forwardRecords(output), wanted, (notice) =>
    job.progress.tell({ notice }),
  );
  try {
    checkProducts(gpu);
    prepareKernels(gpu, calibration.layers, calibration.plan.workspace.size.tokens);
    await runLayers(walk, reading, gpu, traffic);
  } finally {
    units[Symbol.dispose]();
    output.figures.add(gpu);
  }
}

async function runLayers(walk: Walk, { hosts }: BegunReading, gpu: Gpu, traffic: StepTraffic): Promise<void> {
  const { job, calibration, steps, output } = walk;
  using lifetime = createLifetime();
  const { services, flush } = await openServices(job, calibration, output, { gpu, traffic }, lifetime);
  await using ahead = createWeightsAhead(services, hosts, steps);
  const snapshots = {
    bytes: calibration.plan.hidden.streams * calibration.plan.hiddenBytes,
    place: calibration.plan.hidden.place,
    generation: nextLayer(walk),
    isWanted: (layer: number) => services.keepsStates(layer),
  };
  const clock = createSnapshotClock(snapshots, job.control.now);
  const lasting = { services, hosts, ahead, clock };
  const record = createRecorder(walk, lasting, flush);
  // Buffers are not given back before all that is at work has ended.
  await beginJointly(async () => await runTurns(walk, lasting, traffic, record), traffic.joint);
  await gpu.queue.idle();
  lifetime[Symbol.dispose]();
  await removeHiddenFiles(output.folder);
}

/** What turns of all layers have in common. */
interface Lasting {
  readonly services: Omit<SequentialServices, "report">;
  readonly hosts: HostLayers;
  readonly ahead: WeightsAhead;
  readonly clock: SnapshotClock;
}

/** Layer after layer; where the plan has them side by side, one begins when samples have left the one before. */
async function runTurns(
  walk: Walk,
  lasting: Lasting,
  traffic: StepTraffic,
  record: (step: PlannedStep, made: MadeTurn & TurnTimes) => Promise<void>,
): Promise<void> {
  const { job, calibration, steps, output } = walk;
  const { services } = lasting;
  const { joint } = traffic;
  let before = Promise.resolve();
  const told: Promise<void>[] = [];
  for (const step of steps) {
    if (isDone(output, job.plan.steps, step)) continue;
    await traffic.checkpoint();
    // It waits for its bytes: what was told of the layer before is over.
    job.progress.tell({ step: step.index + 1, stepName: step.name, phase: "calibrating", detail: null });
    // The network thread may be busy; what it is told it is told in order.
    told.push(joint.watch(traffic.begin(step)));
    job.progress.began(step.index);
    const last = before;
    const left = Promise.withResolvers<void>();
    const gone = async () => {
      if (!calibration.plan.sideBySide) return;
      // Two layers at most are at work.
      await last;
      left.resolve();
    };
    const take = async () => {
      const made = await takeTurn(walk, step, { ...lasting, gone });
      await last;
      await record(step, made);
      told.push(joint.watch(traffic.end(step)));
    };
    before = waitLater(joint.part(take));
    await Promise.race([before, left.promise]);
    services.states.turn();
    services.original?.states.turn();
  }
  await before;
  await Promise.all(told);
}

/**
 * Lets a layer's speed teach what a GPU's is.
 * @param milliseconds that it took, or beside another layer those that it ended after that one
 */
async function keepSpeed(
  { steps, calibration }: Walk,
  step: PlannedStep,
  { gpu, share }: Pick<SequentialServices, "gpu" | "share">,
  milliseconds: number,
): Promise<void> {
  const { calibrated } = step;
  // Shares wait for each other, and beside the end of the last layer no samples run.
  const tells = !calibration.plan.sideBySide || (!share && step !== steps.at(-1));
  // A head is hardly more than a choice of codes.
  if (!calibrated || calibrated.layer.description.head || !tells) return;
  await keepGpuSpeed(gpu.adapter, sumOfPhases(calibrated.work), milliseconds / 1000);
}

/** Tells the journal of layers that are done, in order, once a crash could go on behind them; and what their speed teaches. */
function createRecorder(walk: Walk, { services, clock }: Lasting, flush: () => void) {
  const { job, output } = walk;
  let before = -Infinity;
  // Layers behind the last snapshot are not finished for the journal: a crash starts them again from its states.
  const unrecorded: FinishedLayer[] = [];
  return async (
    step: PlannedStep,
    { folds, recordable, worked, ended, paused, ...done }: MadeTurn & TurnTimes,
  ): Promise<void> => {
    // What was under way when it was asked for went on while the clock stood still.
    if (!paused) await keepSpeed(walk, step, services, ended - Math.max(worked, before));
    before = ended;
    unrecorded.push({ step, ...done, folds: storeFolds(folds) });
    if (recordable) {
      flush();
      for (const { store } of output.results) store.flush();
      for (const layer of unrecorded.splice(0)) recordLayer(output, layer);
      clock.restart(nextLayer(walk));
    }
    job.progress.addReports(done.made.at(-1)?.output.reports ?? []);
  };
}

/** The layer whose states the journal's last snapshot holds; the first one where there is none. */
function nextLayer({ job, steps, output }: Walk): number {
  return (steps[0]?.calibrated?.index ?? 0) + finishedGenerations(output.journal, job.plan.steps);
}

/** Milliseconds: when a layer's bytes were there, and when it was done; and whether the job was paused on the way. */
interface TurnTimes {
  readonly worked: number;
  readonly ended: number;
  readonly paused: boolean;
}

/** A layer that is done. */
interface MadeTurn extends CompressedLayer {
  readonly made: readonly MadeLayer[];
  readonly seconds: number;
}

interface FinishedLayer {
  readonly step: PlannedStep;
  readonly made: readonly MadeLayer[];
  readonly mappings: readonly MappingReport[];
  readonly folds: readonly StoredFold[];
  readonly seconds: number;
}

/** Results first: a crash in between then finds no result behind the states. */
function recordLayer({ journal, results }: RunOutput, { step, made, ...facts }: FinishedLayer): void {
  const isShared = results.some((result) => result.journal !== journal);
  for (const { result, output } of made) {
    if (!result) continue;
    const { reports: modules } = output;
    recordStep(result.journal, step, { modules, ...facts, ...(isShared && { apart: true }) });
  }
  if (!isFinished(journal, step)) recordStep(journal, step, {});
}

/** One layer, its progress, and what its speed teaches. */
async function takeTurn(
  walk: Walk,
  step: PlannedStep,
  lasting: Lasting & Pick<LayerTurn, "gone">,
): Promise<MadeTurn & TurnTimes> {
  const { job, compressLayer } = walk;
  const { calibrated } = step;
  invariant(calibrated, `${step.name} is a layer of the plan`);
  const { control } = job;
  const { now, pauses, paused: beganPaused } = control;
  const began = now();
  const host = await lasting.hosts.take(step);
  // Waiting for the layer's bytes says nothing of the GPU.
  const worked = now();
  const progress = layerProgress(job, step);
  const services = { ...lasting.services, report: progress.report };
  const made = outputsOf(walk, calibrated, step);
  const outputs = made.map(({ output }) => output);
  const done = await compressLayer({ ...lasting, ...calibrated, outputs, host, step, services });
  progress.end();
  const ended = now();
  const paused = beganPaused || control.pauses > pauses;
  return { ...done, made, worked, ended, paused, seconds: (ended - began) / 1000 };
}
