// Everything that a job does and needs, samples included.

import type { JobPart, JobShare } from "../../api/job-options.ts";
import type { ChunkRange } from "../../calibrate/chunk-tree.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import type { JobPlan } from "./plan-job.ts";

export interface CompressionPlan extends JobPlan {
  /** Null if the recipe needs no text. */
  readonly calibration: CalibrationJob | null;
  /** The most GPU memory that any phase of the job takes. */
  readonly peakGpuBytes: number;
  /** Of what job this is a part; null of a job that does the whole model. */
  readonly part: PlannedPart | null;
  /** Ids of other jobs that layers have shares for, in the order of these; none of a job that is alone. */
  readonly others: readonly string[];
  /** What it does of a job that several do together; null of one that does all. */
  readonly share: PlannedShare | null;
}

/** A share's place in the job that all shares do together. */
export interface PlannedShare extends JobShare {
  /** Under which the shares of this job find each other. */
  readonly jobId: string;
  /** The chunks of samples of each share. */
  readonly chunks: readonly ChunkRange[];
}

/** A part's place in the job that would do the whole model. */
export interface PlannedPart {
  readonly asked: JobPart;
  /** Hidden states that its first layer begins with; none where that is made of token ids. */
  readonly states: readonly File[];
  /** Tokens of all samples before those that run through it. */
  readonly firstToken: number;
  /** The whole job's id: parts that have it in common belong together. */
  readonly jobId: string;
  /** The whole job's steps, and the decoder's layers among them. */
  readonly steps: number;
  readonly layers: number;
  /** The place of each of the part's steps among those of the whole job. */
  readonly places: readonly number[];
}
