// A job, where its results go, and what the GPU did for it.

import type { Gpu } from "../../gpu/gpu.ts";
import { longestOf, type LongSubmit } from "../../gpu/long-submit.ts";
import type { Journal } from "../../offload/journal.ts";
import type { OutputStore } from "../../offload/output-store.ts";
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

/** Where a job's results go. */
export interface JobOutput {
  readonly folder: FileSystemDirectoryHandle;
  readonly store: OutputStore;
  readonly journal: Journal;
  readonly figures: GpuFigures;
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
