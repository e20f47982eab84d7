// What is decided of a calibrated job before it begins.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import type { WorkspacePlan } from "../../../calibrate/forward/workspace.ts";
import type { HiddenDtype, HiddenPlace } from "../../../calibrate/hidden-states.ts";
import type { StrassenPlace } from "../../../gpu/matmul/strassen/open-strassen.ts";
import type { CalibrationShape } from "../costs/calibration-memory.ts";
import type { BatchesAtWork, LayerSchedule } from "./layer-schedule.ts";

/** How a whole job is done within its budget. */
export interface CalibrationPlan {
  readonly shape: CalibrationShape;
  readonly batches: readonly SequenceBatch[];
  readonly workspace: WorkspacePlan;
  readonly layers: readonly LayerSchedule[];
  readonly hidden: HiddenPlan;
  readonly peakBytes: number;
  /** Bytes of one generation of a stream's hidden states. */
  readonly hiddenBytes: number;
  readonly layerPlace: LayerPlace;
  /** Where there is room for products by Strassen's algorithm, counted in the peak; null where there is none. */
  readonly strassen: PlannedStrassen | null;
  /** What is taken while samples are propagated; infinite if weights are streamed then. */
  readonly propagatingBytes: number;
  /** True if a layer is quantized while samples run through the next one. */
  readonly sideBySide: boolean;
  /** True if a layer's weights come to the GPU while samples run through the one before. */
  readonly bringsAhead: boolean;
  /** What some of the next layer's weights may take while samples are propagated; 0 where they do not come then. */
  readonly earlyBytes: number;
  readonly grows: PeakGrowth;
}

/** How hidden states wait between layers. */
export interface HiddenPlan {
  readonly size: number;
  readonly dtype: HiddenDtype;
  readonly place: HiddenPlace;
  /** 2 where those of the original model wait beside those that the job goes by. */
  readonly streams: 1 | 2;
  /** Batches on the GPU at once wherever samples run through a layer; see `LayerSchedule.atWork`. */
  readonly atWork: BatchesAtWork;
}

/** Where a job's layers lie while they are at work. */
export interface LayerPlace {
  /** What the layer takes that takes the most. */
  readonly layerBytes: number;
  /** Bytes of the page's memory that layers may take. */
  readonly memoryBytes: number;
  /** Bytes of the file in which the rest of a layer lies; 0 if there is none. */
  readonly fileBytes: number;
}

/** Where a job has Strassen's products. */
export interface PlannedStrassen extends StrassenPlace {
  /**
   * What MLPs work in beside the workspace's own while samples are propagated, so that their products are as large as a batch; null where
   * that is large enough, or products have no room of their own.
   */
  readonly scratch: { readonly bytes: number; readonly mlpTokens: number } | null;
}

/** What a job's peak grows by; infinite where it cannot be. */
export interface PeakGrowth {
  /** With a layer that is quantized while samples run through the next one. */
  readonly beside: number;
  /** With weights that stay. */
  readonly staying: number;
  readonly both: number;
  /** With weights that come while samples run through the layer before. */
  readonly ahead: number;
}
