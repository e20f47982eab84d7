// The decoder layers of a calibrated job: onload, calibrate, quantize, propagate, offload, one after the other. The
// samples' hidden states go from layer to layer, and to a file after each, so that a crash costs one layer.

import { createBatch } from "../../calibrate/forward/token-batch.ts";
import { openEmbedding } from "../../calibrate/forward/embed-tokens.ts";
import { createWorkspace } from "../../calibrate/forward/workspace.ts";
import { type HiddenStates, openHiddenStates } from "../../calibrate/hidden-states.ts";
import { createLifetime, type Lifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { isFloatDtype } from "../../formats/dtype.ts";
import { type Gpu, openGpu } from "../../gpu/gpu.ts";
import { tuneMatmul } from "../../gpu/matmul/tune-matmul.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import { HiddenFile, removeHiddenFiles } from "../../offload/hidden-file.ts";
import type { HostLayer } from "../../onload/layer-weights.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import { type CalibrationJob, expertCalibration } from "../calibration/plan-calibrated-layers.ts";
import type { Job, JobOutput } from "../compress.ts";
import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import { batchHiddenBytes } from "../calibration/calibration-memory.ts";
import { keepGpuSpeed } from "../planning/gpu-speed.ts";
import { openForwardProducts } from "./forward-products.ts";
import { createHostLayers, type HostLayers } from "./host-layers.ts";
import { finishedGenerations, isFinished, recordStep } from "../job/job-journal.ts";
import { total } from "../planning/plan-time.ts";
import { prepareKernels } from "./prepare-kernels.ts";
import type { TimedReport } from "./quantize-captures.ts";
import { openLayer, propagate, quantizeLayer, type SequentialServices } from "./compress-layer.ts";
import { createSnapshotClock, type SnapshotClock } from "./snapshot-clock.ts";
import { createStepTraffic, type StepTraffic } from "../job/step-traffic.ts";
import { TilePipeline, type TileTraffic } from "../data-free/tile-pipeline.ts";

/** Host memory for embedding rows: all that a calibration set uses of most models. */
const MAX_EMBEDDING_BYTES = 1024 ** 3;

/** Runs those decoder layers that the journal does not know. */
export async function runSequential(job: Job, steps: readonly PlanStep[], output: JobOutput): Promise<void> {
  const calibration = job.plan.calibration;
  invariant(calibration, "a calibrated step belongs to a calibrated job");
  if (steps.every((step) => isFinished(output.journal, step))) return;
  using gpu = await openGpu(job.options.gpuBudgetBytes);
  job.progress.watch(gpu.memory);
  await tuneMatmul(gpu);
  const { forward_products } = calibration.options;
  const units = await openForwardProducts(gpu, output.journal, forward_products, (notice) =>
    job.progress.tell({ notice }),
  );
  prepareKernels(gpu, calibration.layers);
  const traffic = createStepTraffic(job, output);
  try {
    await runLayers(job, calibration, steps, output, { gpu, traffic });
  } finally {
    traffic.abort();
    units[Symbol.dispose]();
    output.figures.add(gpu);
  }
}

async function runLayers(
  job: Job,
  calibration: CalibrationJob,
  steps: readonly PlanStep[],
  output: JobOutput,
  { gpu, traffic }: { gpu: Gpu; traffic: StepTraffic },
): Promise<void> {
  using lifetime = createLifetime();
  const { services, flush } = await openServices(job, calibration, output, gpu, lifetime);
  const clock = createSnapshotClock(calibration.plan.hiddenBytes, calibration.plan.hidden.place);
  // Layers behind the last snapshot are not finished for the journal: a crash starts them again from its states.
  const unrecorded: FinishedLayer[] = [];
  const hosts = createHostLayers(steps, traffic);
  for (const step of steps) {
    if (isFinished(output.journal, step)) continue;
    await job.control.checkpoint();
    job.progress.tell({ step: step.index + 1, stepName: step.name });
    await traffic.begin(step);
    job.progress.began(step.index);
    const started = performance.now();
    const progress = layerProgress(job, step);
    const reporting = { ...services, report: progress.report };
    const { modules, recordable, worked } = await compressLayer(calibration, step, reporting, traffic, {
      clock,
      hosts,
    });
    progress.end();
    await keepGpuSpeed(gpu.adapter, job.time.flops.get(step.index) ?? 0, worked);
    unrecorded.push({ step, modules, seconds: (performance.now() - started) / 1000 });
    if (recordable) {
      flush();
      output.store.flush();
      for (const layer of unrecorded.splice(0)) recordStep(output.journal, layer.step, layer);
      clock.restart();
    }
    job.progress.addReports(modules);
    services.states.turn();
    await traffic.end(step);
  }
  await gpu.queue.idle();
  lifetime[Symbol.dispose]();
  await removeHiddenFiles(output.folder);
}

interface FinishedLayer {
  readonly step: PlanStep;
  readonly modules: readonly TimedReport[];
  readonly seconds: number;
}

interface LayerServices extends SequentialServices {
  /** For weights that are rounded to nearest; null if there are none. */
  readonly tiles: TilePipeline | null;
}

/**
 * Onload, calibrate, quantize, propagate, offload. `recordable` if a crash after this layer could go on behind it; `worked`
 * are the seconds without waiting for the layer's bytes.
 */
async function compressLayer(
  calibration: CalibrationJob,
  step: PlanStep,
  services: LayerServices,
  traffic: StepTraffic,
  { clock, hosts }: { readonly clock: SnapshotClock; readonly hosts: HostLayers },
): Promise<{ modules: TimedReport[]; recordable: boolean; worked: number }> {
  const index = calibration.layerOf.get(step.index) ?? -1;
  const layer = calibration.layers[index];
  const passes = calibration.plan.layers[index];
  invariant(layer && passes, `${step.name} is a layer of the plan`);
  const host = await hosts.take(step);
  const started = performance.now();
  for (const task of step.quantize) writeShape(task, traffic);
  await services.tiles?.run(layer.rounded, hostTraffic(step, host, traffic));
  using work = await openLayer(services, layer, passes, host);
  const modules = await quantizeLayer(services, work);
  const isLast = index === calibration.layers.length - 1;
  const recordable = isLast || clock.due();
  hosts.readAfter(step);
  // Nothing reads what comes out of the last layer.
  if (!isLast) await propagate(services, work, recordable);
  // the layer's own progress counts these bytes
  await copyTensors(step.copy, { ...traffic, finished: () => undefined });
  return { modules, recordable, worked: (performance.now() - started) / 1000 };
}

/** Makes what lives through all layers, and the first hidden states if no earlier run did. */
async function openServices(
  job: Job,
  calibration: CalibrationJob,
  output: JobOutput,
  gpu: Gpu,
  lifetime: Lifetime,
): Promise<{ services: Omit<LayerServices, "report">; flush: () => void }> {
  const { plan, set, tiling } = calibration;
  const tiles = tiling ? lifetime.use(await TilePipeline.create(gpu, tiling)) : null;
  const uploads = lifetime.use(await UploadRing.create(gpu, plan.shape.ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, plan.shape.ring));
  const workspace = lifetime.use(await createWorkspace(gpu, uploads, plan.workspace));
  const atWork = {
    label: "hidden states at work",
    bytes: batchHiddenBytes(plan.batches, plan.hidden.size),
  };
  const hidden: readonly LedgerBuffer[] = await gpu.memory.allocateAll(
    Array.from({ length: plan.hidden.atWork }, () => atWork),
  );
  hidden.forEach((buffer) => lifetime.use(buffer));
  const rings = { gpu, uploads, readbacks };
  const batches = await openBatches(calibration, rings, lifetime);
  const { states, flush } = await openStates(job, calibration, output, rings, lifetime);
  const services = {
    ...rings,
    plan,
    tiles,
    workspace,
    batches,
    hidden,
    states,
    samples: set.sequences.length,
    propagateError: calibration.options.propagate_error,
    experts: expertCalibration(calibration.options),
    minExpertTokens: calibration.options.moe_min_tokens_per_expert,
    write: (tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>) =>
      output.store.write(tensor, offset, bytes),
    checkpoint: async () => await job.control.checkpoint(),
  };
  return { services, flush };
}

interface Rings {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
}

async function openBatches(
  { plan, set }: CalibrationJob,
  { gpu, uploads }: Rings,
  lifetime: Lifetime,
): Promise<SequentialServices["batches"]> {
  const batches = [];
  for (const rows of plan.batches) {
    const sequences = set.sequences.slice(rows.first, rows.first + rows.starts.length - 1);
    const lengths = sequences.map(({ length }) => length);
    batches.push({ rows, tokens: lifetime.use(await createBatch(gpu, uploads, lengths)) });
  }
  return batches;
}

/** The hidden states that feed the first unfinished layer. */
async function openStates(
  job: Job,
  calibration: CalibrationJob,
  { folder, journal }: JobOutput,
  services: Rings,
  lifetime: Lifetime,
): Promise<{ states: HiddenStates; flush: () => void }> {
  const { batches, hidden, hiddenBytes } = calibration.plan;
  const even = lifetime.use(await HiddenFile.open(folder, "hidden-0.bin", hiddenBytes));
  const odd = lifetime.use(await HiddenFile.open(folder, "hidden-1.bin", hiddenBytes));
  const flush = () => {
    even.flush();
    odd.flush();
  };
  const packedBytes = batchHiddenBytes(batches, hidden.size) / 2;
  const packed =
    hidden.dtype === "BF16"
      ? lifetime.use(
          await services.gpu.memory.allocate({ label: "packed hidden states", bytes: packedBytes }),
        )
      : null;
  const generation = finishedGenerations(journal, calibration.layerOf);
  const states = lifetime.use(
    await openHiddenStates(
      { batches, hiddenSize: hidden.size, dtype: hidden.dtype, place: hidden.place },
      { ...services, packed, file: (at) => (at % 2 === 0 ? even : odd) },
      generation,
    ),
  );
  // The embedding is cheaper to make again than to keep for after a crash.
  if (generation === 0) await embed(job, calibration, states);
  return { states, flush };
}

/** Rows of the embedding table, gathered from byte ranges; the table never goes to the GPU. */
async function embed(
  job: Job,
  { description, set, plan }: CalibrationJob,
  states: { put: (batch: (typeof plan.batches)[number], values: Float32Array<ArrayBuffer>) => Promise<void> },
): Promise<void> {
  job.progress.tell({ phase: "embedding" });
  const tensor = job.model.tensors.find(({ name }) => name === description.embedding.tensor);
  invariant(tensor && isFloatDtype(tensor.dtype), "the decoder has an embedding");
  const { dtype, file, start } = tensor;
  const table = {
    dtype,
    rows: description.vocabSize,
    columns: description.hiddenSize,
    multiplier: description.embedding.multiplier,
    read: async (from: number, to: number) =>
      await job.source.read({ path: file, start: start + from, end: start + to }),
  };
  const used = new Set(set.sequences.flatMap((sequence) => [...sequence]));
  const embedding = await openEmbedding(table, used, MAX_EMBEDDING_BYTES);
  const tokens = Math.max(...plan.batches.map((batch) => batch.tokens));
  const values = new Float32Array(tokens * description.hiddenSize);
  for (const batch of plan.batches) {
    await job.control.checkpoint();
    const sequences = set.sequences.slice(batch.first, batch.first + batch.starts.length - 1);
    const ids = new Uint32Array(batch.tokens);
    sequences.forEach((sequence, index) => ids.set(sequence, batch.starts[index]));
    await states.put(batch, await embedding(ids, values));
  }
}

/** Traffic that reads weights from the layer in host memory; the layer's own progress counts their bytes. */
function hostTraffic(step: PlanStep, host: HostLayer, traffic: StepTraffic): TileTraffic {
  return {
    ...traffic,
    async read({ path, start, end }) {
      const task = step.quantize.find(
        ({ tensor }) => tensor.file === path && tensor.start <= start && end <= tensor.end,
      );
      const bytes = task && host.tensors.get(task.tensor.name)?.bytes;
      invariant(task && bytes, "a rounded weight is in host memory");
      return await Promise.resolve(bytes.slice(start - task.tensor.start, end - task.tensor.start));
    },
    finished: () => undefined,
  };
}

/** Tells a layer's progress, and spreads its source bytes over its phases by their share of the work. */
function layerProgress(job: Job, step: PlanStep): { report: SequentialServices["report"]; end(): void } {
  const ranges = job.plan.ranges[step.index] ?? [];
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  const work = job.time.layers.get(step.index);
  invariant(work, `${step.name} is a layer of the plan`);
  // What is reported begins then: it is done with when the next thing begins.
  let end = () => {};
  return {
    report(phase, detail, share) {
      end();
      job.progress.tell({ phase, detail });
      end = () => job.progress.worked(step.index, phase, share, (bytes * share * work[phase]) / total(work));
    },
    end: () => end(),
  };
}
