// What the layers of a calibrated job share.

import type { SequenceBatch } from "../../calibrate/batches.ts";
import type { TokenBatch } from "../../calibrate/forward/token-batch.ts";
import type { TokenTables } from "../../calibrate/forward/token-inputs/token-inputs.ts";
import type { Workspace } from "../../calibrate/forward/workspace.ts";
import type { HiddenStates } from "../../calibrate/hidden-states.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { ReadbackRing } from "../../gpu/staging/readback-ring.ts";
import type { UploadRing } from "../../gpu/staging/upload-ring.ts";
import type { ExpertCalibration } from "../../model/layer-linears.ts";
import type { FoldPiece } from "../../onload/fold-layer.ts";
import type { PlannedShare } from "../planning/compression-plan.ts";
import type { Exchange } from "./exchange/exchange.ts";
import type { LeftSums } from "./exchange/left-sums.ts";
import type { ModuleMemory } from "./module-memory.ts";
import type { CalibrationPlan } from "../calibration/fit/calibration-plan.ts";
import type { SourceTraffic } from "../job/traffic.ts";
import type { TilePipeline } from "../data-free/tile-pipeline.ts";

/** What a job does of one that several do together. */
export interface ShareAtWork {
  readonly plan: PlannedShare;
  readonly exchange: Exchange;
  /** True for the one that writes the result. */
  readonly writes: boolean;
  /** What its forward products run on. */
  readonly products: string;
  /** For modules that go and come. */
  readonly memory: ModuleMemory;
  /** Sums that it gave away, and that may be asked for again. */
  readonly sums: LeftSums;
}

/** Samples of the original model, which run through each layer's weights before those are quantized. */
export interface OriginalSamples {
  readonly states: HiddenStates;
  /** (max tokens, hidden) float32: the batch at work. */
  readonly hidden: LedgerBuffer;
}

/** What lives through all layers. */
export interface SequentialServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  readonly plan: CalibrationPlan;
  readonly workspace: Workspace;
  readonly batches: readonly { readonly rows: SequenceBatch; readonly tokens: TokenBatch }[];
  /** (max tokens, hidden) float32 each: the batches at work. */
  readonly hidden: readonly LedgerBuffer[];
  readonly states: HiddenStates;
  /** The original model's samples; null where nothing is compared with them. */
  readonly original: OriginalSamples | null;
  /** What token blocks are given; null in models without. */
  readonly tokenTables: TokenTables | null;
  /** Of the whole job, whatever this one's share. */
  readonly samples: number;
  /** The chunk of each sequence; null where Hessians are not summed along the tree of chunks. */
  readonly chunkAt: readonly number[] | null;
  /** Null of a job that has all samples. */
  readonly share: ShareAtWork | null;
  readonly experts: ExpertCalibration;
  /** Experts that fewer tokens are routed to are rounded to nearest. */
  readonly minExpertTokens: number;
  /** For weights that go in tiles; null if there are none. */
  readonly tiles: TilePipeline | null;
  readonly traffic: SourceTraffic;
  /** Folds factors into rows of a layer on the host. */
  readonly fold: FoldPiece;
  /** True if the hidden states in front of this layer are what the job is for. */
  keepsStates(layer: number): boolean;
  /** Writes the states that a recordable layer has saved, those in front of `layer`, into their file of the result. */
  keepStates(layer: number): Promise<void>;
  checkpoint(): Promise<void>;
  /** Milliseconds of a clock that stands still while the job is paused. */
  readonly now: () => number;
  /** Tells what goes on, and which part of the layer's work is done. */
  report(phase: "calibrating" | "quantizing" | "propagating", detail: string, share: number): void;
}
