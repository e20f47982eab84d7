// Steps that need no calibration: tiles stream through the GPU, one step computing while the one before drains to disk.

import { quantizeStep } from "./quantize-set.ts";
import { openGpu } from "../../gpu/gpu.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import { isFinished, recordStep } from "../job/job-journal.ts";
import { createStepTraffic, type StepTraffic } from "../job/step-traffic.ts";
import { TilePipeline } from "./tile-pipeline.ts";
import type { Job, JobOutput } from "../job/job.ts";

/** Runs those of the steps that the journal does not know. */
export async function runDataFree(job: Job, steps: readonly PlannedStep[], output: JobOutput): Promise<void> {
  using gpu = await openGpu(job.options.gpuBudgetBytes);
  job.progress.watch(gpu.memory);
  job.progress.tell({ phase: "quantizing" });
  using tiles = await TilePipeline.create(gpu, job.plan.tiling);
  const traffic = createStepTraffic(job, output);
  const begun: Promise<void>[] = [];
  let finishing = Promise.resolve();
  try {
    for (const step of steps) {
      if (isFinished(output.journal, step)) continue;
      await job.control.checkpoint();
      job.progress.tell({ step: step.index + 1, stepName: step.name });
      await traffic.begin(step);
      const written = runStep(step, tiles, traffic);
      begun.push(written.catch(() => undefined));
      await finishing; // of the step before: at most two are under way
      finishing = finishStep(step, written, output, traffic);
      begun.push(finishing.catch(() => undefined));
    }
    await finishing;
  } finally {
    // Tiles that have not begun end at their first checkpoint.
    traffic.abort();
    await Promise.all(begun);
    output.figures.add(gpu);
  }
}

/** Onloads, quantizes and offloads one step; resolves when all of its bytes are written. */
async function runStep(step: PlannedStep, tiles: TilePipeline, traffic: StepTraffic): Promise<void> {
  for (const task of step.quantize) writeShape(task, traffic);
  await Promise.all([quantizeStep(tiles, step.quantize, traffic), copyTensors(step.copy, traffic)]);
}

async function finishStep(
  step: PlannedStep,
  written: Promise<void>,
  { store, journal }: JobOutput,
  traffic: StepTraffic,
): Promise<void> {
  await written;
  store.flush();
  recordStep(journal, step, {});
  await traffic.end(step);
}
