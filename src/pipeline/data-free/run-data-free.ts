// Steps that need no calibration: tiles stream through the GPU, one step computing while the one before drains to disk.

import { allEnded } from "../../all-ended.ts";
import { quantizeStep } from "./quantize-set.ts";
import { openGpu } from "../../gpu/gpu.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import { isDone } from "../job/done-steps.ts";
import { isFinished, recordStep } from "../job/job-journal.ts";
import { createReadingFront } from "./reading-front.ts";
import { createStepTraffic, type StepTraffic } from "../job/step-traffic.ts";
import { TilePipeline } from "./tile-pipeline.ts";
import { type Job, type RunOutput, stepOf } from "../job/job.ts";
import type { TileTraffic } from "../job/traffic.ts";
import { beginJointly } from "../../joint-work.ts";
import { waitLater } from "../../wait-later.ts";

/** Runs those of the steps that the journal does not know. */
export async function runDataFree(job: Job, steps: readonly PlannedStep[], output: RunOutput): Promise<void> {
  // What is only copied needs no GPU.
  const quantizes = output.results.some((result) =>
    steps.some((step) => stepOf(result.job, step).quantize.length > 0),
  );
  using gpu = quantizes ? await openGpu(job.options.gpuBudgetBytes) : null;
  if (gpu) job.progress.watch(gpu.memory);
  job.progress.tell({ phase: "quantizing" });
  using tiles = gpu && (await TilePipeline.create(gpu, job.plan.tiling));
  const traffic = createStepTraffic(job, output);
  try {
    // Buffers are not given back before all that is at work has ended.
    await beginJointly(async () => await runSteps(job, steps, output, { tiles, traffic }), traffic.joint);
  } finally {
    if (gpu) output.figures.add(gpu);
  }
}

async function runSteps(
  job: Job,
  steps: readonly PlannedStep[],
  output: RunOutput,
  { tiles, traffic }: { readonly tiles: TilePipeline | null; readonly traffic: StepTraffic },
): Promise<void> {
  const { joint } = traffic;
  let finishing = Promise.resolve();
  for (const step of steps) {
    if (isDone(output, job.plan.steps, step)) continue;
    await traffic.checkpoint();
    job.progress.tell({ step: step.index + 1, stepName: step.name, detail: null });
    await traffic.begin(step);
    const written = waitLater(joint.part(async () => await runStep(step, output, tiles, traffic)));
    await finishing; // of the step before: at most two are under way
    finishing = waitLater(joint.part(async () => await finishStep(step, written, output, traffic)));
  }
  await finishing;
}

/** Onloads, quantizes and offloads one step for each result that lacks it; resolves when all of its bytes are written. */
async function runStep(
  step: PlannedStep,
  { results, embedding }: RunOutput,
  tiles: TilePipeline | null,
  source: StepTraffic,
): Promise<void> {
  const lacking = results.filter(({ journal }) => !isFinished(journal, step));
  for (const [index, { job, store }] of lacking.entries()) {
    const { quantize, copy } = stepOf(job, step);
    // Bytes that another result reads again are not done with.
    const isLast = index === lacking.length - 1;
    const finished: TileTraffic["finished"] = (range) => isLast && source.finished(range);
    const write: TileTraffic["write"] = (tensor, offset, bytes) => store.write(tensor, offset, bytes);
    const read: TileTraffic["read"] = async (range) => {
      const bytes = await source.read(range);
      embedding.pass(range, bytes);
      return bytes;
    };
    const traffic = { ...source, read, finished, write };
    for (const task of quantize) writeShape(task, traffic);
    const front = createReadingFront();
    const tileTraffic = { ...traffic, read: front.watch(read) };
    const { joint } = source;
    await allEnded([
      joint.part(async () => {
        if (tiles) await quantizeStep(tiles, quantize, tileTraffic);
        front.end();
      }),
      joint.part(async () => {
        await copyTensors(copy, traffic, async (range) => await joint.unlessFailed(front.passes(range)));
      }),
    ]);
  }
}

async function finishStep(
  step: PlannedStep,
  written: Promise<void>,
  { results, journal }: RunOutput,
  traffic: StepTraffic,
): Promise<void> {
  await written;
  for (const result of results) {
    if (isFinished(result.journal, step)) continue;
    result.store.flush();
    recordStep(result.journal, step, {});
  }
  if (!isFinished(journal, step)) recordStep(journal, step, {});
  await traffic.end(step);
}
