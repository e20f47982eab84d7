// What the first layer of a calibrated job begins with comes while the GPU is opened: its weights, and where nothing has passed
// the embedding's table yet, as in a share that writes nothing, rows of that.

import { openLayerFile } from "../../../offload/job-file.ts";
import { isDone } from "../../job/done-steps.ts";
import { finishedGenerations } from "../../job/job-journal.ts";
import type { Job, RunOutput } from "../../job/job.ts";
import type { StepTraffic } from "../../job/step-traffic.ts";
import type { CalibrationJob } from "../../calibration/plan-calibrated-layers.ts";
import type { PlannedStep } from "../../planning/planned-step.ts";
import { createHostLayers, type HostLayers } from "./host-layers.ts";
import { waitLater } from "../../../wait-later.ts";
import { undoneBy } from "../../../ended-by.ts";

/** The layers that a run goes through, and what they are read for. */
interface ReadLayers {
  readonly job: Job;
  readonly calibration: CalibrationJob;
  readonly steps: readonly PlannedStep[];
  readonly output: RunOutput;
}

export interface BegunReading extends AsyncDisposable {
  readonly hosts: HostLayers;
}

/** Opens where layers lie on the host, and begins to read the first one that the journal does not know. */
export async function beginReading(
  { job, calibration, steps, output }: ReadLayers,
  traffic: StepTraffic,
): Promise<BegunReading> {
  const { memoryBytes, fileBytes } = calibration.plan.layerPlace;
  const file = fileBytes > 0 ? await openLayerFile(output.folder, fileBytes) : null;
  const hosts = createHostLayers(steps, traffic, { memoryBytes, file });
  const { embedding, journal } = output;
  if (embedding.areClose && finishedGenerations(journal, job.plan.steps) === 0)
    void waitLater(embedding.bring(async (range) => await job.source.read(range)));
  const close = async () => {
    // Whoever disposes of it has ended what it waits for.
    await hosts.quiet();
    await file?.[Symbol.asyncDispose]();
  };
  const first = steps.find((step) => !isDone(output, job.plan.steps, step));
  if (first) {
    // Nobody else could open the file.
    await undoneBy(async () => await traffic.begin(first), close);
    hosts.readAhead(first);
  }
  return { hosts, [Symbol.asyncDispose]: close };
}
