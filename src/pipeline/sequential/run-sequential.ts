// The decoder layers of a calibrated job: onload, calibrate, quantize, propagate, offload, one after the other. The
// samples' hidden states go from layer to layer, and to a file after each, so that a crash costs one layer.

import { createLifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { type Gpu, openGpu } from "../../gpu/gpu.ts";
import { tuneMatmul } from "../../gpu/matmul/tune-matmul.ts";
import { removeHiddenFiles } from "../../offload/hidden-file.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import { type CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { keepGpuSpeed } from "../planning/gpu-speed.ts";
import { openForwardProducts } from "./forward-products.ts";
import { createHostLayers } from "./host-layers.ts";
import { isFinished, recordStep } from "../job/job-journal.ts";
import { total } from "../planning/plan-time.ts";
import { prepareKernels } from "./prepare-kernels.ts";
import type { TimedReport } from "./quantize-captures.ts";
import { createSnapshotClock } from "./snapshot-clock.ts";
import { createStepTraffic, type StepTraffic } from "../job/step-traffic.ts";
import type { Job, JobOutput } from "../job/job.ts";
import type { SequentialServices } from "./services.ts";
import { openServices } from "./open-services.ts";
import { compressLayer } from "./compress-layer.ts";

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
