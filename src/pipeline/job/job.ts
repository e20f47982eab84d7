// A job, where its results go, and what the GPU did for it.

import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { longestOf, type LongSubmit } from "../../gpu/queue/long-submit.ts";
import type { JournalRecords } from "../../offload/journal.ts";
import type { OutputStore } from "../../offload/output-store.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { PlannedStep } from "../planning/planned-step.ts";
import type { EmbeddingRows } from "./embedding-rows.ts";
import type { JobControl } from "./job-control.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import type { CompressionPlan } from "../planning/compression-plan.ts";
import type { PlannedTime } from "../planning/plan-time.ts";
import type { ProgressLog } from "./progress.ts";
import type { RemoteSource } from "../inspect/remote-source.ts";
import type { JobOptions } from "../../api/job-options.ts";

export interface Job {
  readonly model: OpenModel;
  readonly plan: CompressionPlan;
  readonly options: JobOptions;
  readonly source: RemoteSource;
  readonly control: JobControl;
  readonly progress: ProgressLog;
  readonly time: PlannedTime;
}

/** True unless the job is a share of one, and another share writes what they make together. */
export function writesResult({ plan: { share } }: Job): boolean {
  return !share || share.index === 0;
}

/** A step of a run as one of its results has it: all plans of a run have the same steps, and each its own tasks. */
export function stepOf({ plan }: Job, { index, name }: PlanStep): PlannedStep {
  const step = plan.steps[index];
  invariant(step?.name === name, "plans of one run have the same steps");
  return step;
}

/** A result on its way into its folder. */
export interface ResultAtWork {
  /** The job as if it were alone: its plan, its options. */
  readonly job: Job;
  readonly store: Pick<OutputStore, "write" | "flush">;
  readonly journal: JournalRecords;
}

/** Where a run's results go. */
export interface RunOutput {
  /** Where hidden states are kept. */
  readonly folder: FileSystemDirectoryHandle;
  /** Knows for which layers they are done with: the result's own, where there is one result. */
  readonly journal: JournalRecords;
  /** Those that are not finished. */
  readonly results: readonly ResultAtWork[];
  readonly figures: GpuFigures;
  /** What passes by of the embedding table before the first layer. */
  readonly embedding: EmbeddingRows;
}

/** What the GPU did, over all devices that a job went through. */
export interface GpuFigures {
  peakGpuBytes: number;
  longestSubmits: readonly LongSubmit[];
  busySeconds: number;
  add(gpu: Gpu): void;
}

export function createFigures(): GpuFigures {
  return {
    peakGpuBytes: 0,
    longestSubmits: [],
    busySeconds: 0,
    add({ memory, queue }) {
      this.peakGpuBytes = Math.max(this.peakGpuBytes, memory.peakBytes);
      this.busySeconds += queue.busyMs / 1000;
      this.longestSubmits = longestOf([...this.longestSubmits, ...queue.longestSubmits]);
    },
  };
}
