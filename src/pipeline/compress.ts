// READ FIRST. The whole path on one page: a planned model goes through the GPU a layer at a time and becomes a folder.
//
//   source ranges -> onload -> quantize -> offload (OPFS, journal) -> next layer … -> package
//
// A step that the journal knows is not done again, so the loop is also the resume. If the GPU is lost, a new device
// goes on from the last finished layer.

import { DeviceLostError } from "../errors.ts";
import { openGpu } from "../gpu/gpu.ts";
import { Journal } from "../offload/journal.ts";
import { openJobFolder, openOutputFolder } from "../offload/job-folder.ts";
import { OutputStore } from "../offload/output-store.ts";
import type { PlanStep } from "../plan/plan-steps.ts";
import type { JobOptions, ResultSummary } from "./api.ts";
import { copyTensors, writeShape } from "./copy-tensors.ts";
import type { JobControl } from "./job-control.ts";
import { beginJournal, finishedResult, isFinished, recordResult, recordStep } from "./job-journal.ts";
import type { OpenModel } from "./open-model.ts";
import { packageModel } from "./package-model.ts";
import type { JobPlan } from "./plan-job.ts";
import type { ProgressLog } from "./progress.ts";
import type { RemoteSource } from "./remote-source.ts";
import { createStepTraffic } from "./step-traffic.ts";
import { TilePipeline } from "./tile-pipeline.ts";

export interface Job {
  readonly model: OpenModel;
  readonly plan: JobPlan;
  readonly options: JobOptions;
  readonly source: RemoteSource;
  readonly control: JobControl;
  readonly progress: ProgressLog;
}

/** What the GPU did, over all devices that a job went through. */
export interface GpuFigures {
  peakGpuBytes: number;
  worstSubmitMs: number;
}

/** Attempts that a lost GPU gets without finishing a step in between; then the user is asked. */
const MAX_FRUITLESS_ATTEMPTS = 3;

/** Runs a job, or goes on with it, until its result lies in OPFS. */
export async function compress(job: Job): Promise<ResultSummary> {
  const folder = await openJobFolder(job.plan.jobId);
  using journal = await Journal.open(folder);
  const finished = finishedResult(journal);
  if (finished) return finished;
  beginJournal(journal, job);
  const output = await openOutputFolder(folder);
  const figures: GpuFigures = { peakGpuBytes: 0, worstSubmitMs: 0 };
  {
    using store = await OutputStore.open(output, job.plan.output.shards);
    await runStepsSurvivingLoss(job, store, journal, figures);
  }
  job.progress.tell({ phase: "packaging" });
  const result = await packageModel(job, output, figures);
  recordResult(journal, result);
  return result;
}

async function runStepsSurvivingLoss(
  job: Job,
  store: OutputStore,
  journal: Journal,
  figures: GpuFigures,
): Promise<void> {
  let fruitless = 0;
  for (;;) {
    const before = journal.records.length;
    try {
      await runSteps(job, store, journal, figures);
      return;
    } catch (error) {
      fruitless = journal.records.length > before ? 0 : fruitless + 1;
      if (!(error instanceof DeviceLostError) || fruitless >= MAX_FRUITLESS_ATTEMPTS) throw error;
      const next = job.plan.steps.find((step) => !isFinished(journal, step));
      job.progress.tell({
        notice: `${error.message} Going on from ${next?.name ?? "the end"} with a new device.`,
      });
    }
  }
}

async function runSteps(job: Job, store: OutputStore, journal: Journal, figures: GpuFigures): Promise<void> {
  using gpu = await openGpu(job.options.gpuBudgetBytes);
  using tiles = await TilePipeline.create(gpu, job.plan.tiling);
  const traffic = createStepTraffic(job, store, journal);
  job.progress.watch(gpu.memory);
  job.progress.tell({ phase: "quantizing" });
  const begun: Promise<void>[] = [];
  let finishing = Promise.resolve();
  try {
    for (const step of job.plan.steps) {
      if (isFinished(journal, step)) {
        traffic.skip(step);
        continue;
      }
      await job.control.checkpoint();
      job.progress.tell({ step: step.index + 1, stepName: step.name });
      await traffic.begin(step);
      const written = runStep(step, tiles, traffic);
      begun.push(written.catch(() => undefined));
      await finishing; // of the step before: at most two are under way, one computing while the other drains
      finishing = finishStep(step, written, { store, journal, traffic });
      begun.push(finishing.catch(() => undefined));
    }
    await finishing;
  } finally {
    tiles.clear();
    traffic.abort();
    await Promise.all(begun);
    figures.peakGpuBytes = Math.max(figures.peakGpuBytes, gpu.memory.peakBytes);
    figures.worstSubmitMs = Math.max(figures.worstSubmitMs, gpu.queue.worstSubmitMs);
  }
}

type StepTraffic = ReturnType<typeof createStepTraffic>;

/** Onloads, quantizes and offloads one step; resolves when all of its bytes are written. */
async function runStep(step: PlanStep, tiles: TilePipeline, traffic: StepTraffic): Promise<void> {
  const quantized = step.quantize.map(async (task) => {
    writeShape(task, traffic);
    await tiles.run(task, traffic);
  });
  await Promise.all([...quantized, copyTensors(step.copy, traffic)]);
}

async function finishStep(
  step: PlanStep,
  written: Promise<void>,
  to: { store: OutputStore; journal: Journal; traffic: StepTraffic },
): Promise<void> {
  await written;
  to.store.flush();
  recordStep(to.journal, step);
  await to.traffic.end(step);
}
