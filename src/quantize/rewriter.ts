// The contract of a modifier that moves factors between tensors before any code is chosen, so that what quantizers then do loses
// less. The model computes the same: what a norm or Linear gives out is divided by what its readers' columns are multiplied by.

import { CalibrationError } from "../errors.ts";
import type { FloatDtype } from "../formats/numbers/dtype.ts";
import type { Fold } from "../formats/weights/fold.ts";
import type { RewriterName } from "../formats/modifiers/rewriters.ts";
import type { RewritingModifier } from "../formats/recipe/recipe.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { BufferPart } from "../gpu/kernel.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import type { ReadbackRing } from "../gpu/staging/readback-ring.ts";
import type { UploadRing } from "../gpu/staging/upload-ring.ts";
import type { TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";
import type { Mapping } from "../model/mappings.ts";
import type { Linear } from "../model/weight-description.ts";
import type { QuantizerLimits, QuantizerTask } from "./quantizer.ts";

/** What a channel of an input reached over all tokens; see `calibrate/channels`. */
export interface ChannelStatistics {
  readonly low: Float32Array;
  readonly high: Float32Array;
  /** Σ|x|. */
  readonly magnitude: Float32Array;
  readonly tokens: number;
}

/** What a modifier is to do to a layer. */
export interface RewriterDemand {
  readonly modifier: RewritingModifier;
  /** In the order of the forward pass. */
  readonly mappings: readonly Mapping[];
  /** Inputs that the mappings' Linears read. */
  readonly captures: readonly Capture[];
  /** Every Linear of the layer that is quantized. */
  readonly tasks: readonly QuantizerTask[];
}

/** One run of the samples, and the Hessians that it collected. */
export interface RewriterPass {
  readonly captures: readonly Capture[];
  hessian(capture: Capture): TriangularMatrix;
  /** Tokens that each capture's modules saw. */
  tokens(capture: Capture): number;
  /**
   * What the run glanced at: of each variant the squared error of what the block gives out, as a share of that. Null where it glanced
   * at nothing.
   */
  readonly glanced: Float64Array | null;
}

/** Rows of a Linear's weight on the GPU, `stride` elements apart; they begin at `firstRow`, a multiple of 4, of the Linear. */
export interface WeightRows {
  readonly weight: BufferPart;
  readonly dtype: FloatDtype;
  readonly stride: number;
  readonly firstRow: number;
  readonly rows: number;
}

/** A mapping whose block is run again and again, each time with other weights of the Linears that read it. */
export interface BlockVariants {
  readonly mapping: Mapping;
  readonly count: number;
  /** Variants that differ in the Linears alone that come last in the block, so that the rest is run once for them. */
  readonly together?: readonly (readonly number[])[];
  /** What a variant has in place of some rows of a Linear, piece by piece, each valid until the next; null for Linears that stay. */
  readonly replace: (module: string, rows: WeightRows, variant: number) => AsyncIterable<WeightRows> | null;
}

/** The blocks that a rewriter wants to be run. */
export interface BlockDemand {
  readonly mappings: readonly Mapping[];
  /** How often, the original left out. */
  readonly runs: number;
  /** Those of them that share all but the Linears that come last; see `BlockVariants`. */
  readonly together?: BlockVariants["together"];
  /** GPU bytes that it takes meanwhile. */
  readonly bytes: number;
}

/** A block that is run with each variant of its weights while samples run: on what the first tokens brought to it. */
export interface Glance {
  readonly mapping: Mapping;
  readonly count: number;
  /** Called when the last tokens are there: `channels` then tells of all of them. */
  begin(): Promise<GlancedWeights>;
}

export interface GlancedWeights extends Disposable {
  readonly replace: BlockVariants["replace"];
}

/** A rewriter's wish to do so. */
export interface GlanceDemand {
  readonly mapping: Mapping;
  readonly count: number;
  /** GPU bytes that it takes in the run, beside what running the block takes. */
  readonly bytes: number;
}

/** A layer at work: what a rewriter works on. */
export interface RewriterRun extends RewriterDemand {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  /** GPU bytes beside the Hessians of a pass, as planned. */
  readonly freeBytes: number;
  /**
   * Runs the samples, as often as the Hessians that the rewriter wants take, and lets it work on those of each run.
   * @param glance what the first run glances at, as `glance` demands it
   */
  eachPass(work: (pass: RewriterPass) => Promise<void>, glance?: Glance | null): Promise<void>;
  /**
   * Runs blocks with each variant of their weights, in one more run of the samples, which is planned where `blocks` demands it.
   * Of each variant the squared error of what the block gives out, as a share of that.
   */
  runBlocks(variants: readonly BlockVariants[]): Promise<ReadonlyMap<Mapping, Float64Array>>;
  /** Of the input that a mapping's Linears read; known from the first pass on. */
  channels(mapping: Mapping): Promise<ChannelStatistics>;
  /** Rows of a Linear's weight in host memory with all that was folded into it so far; all of them if not said otherwise. */
  weight(
    linear: Linear,
    firstRow?: number,
    rows?: number,
  ): { readonly dtype: FloatDtype; readonly bytes: Uint8Array<ArrayBuffer> };
  /** Brings rows of a Linear's weight, as they are in host memory, to a buffer. */
  load(linear: Linear, firstRow: number, rows: number, to: LedgerBuffer): Promise<void>;
  dtypeOf(tensor: string): FloatDtype;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
  /** Tells which mapping is at work. */
  begins(mapping: Mapping): void;
}

/** What was done to one mapping. */
export interface MappingReport {
  readonly modifier: RewriterName;
  readonly smooth: string;
  readonly balance: readonly string[];
  /** Smallest and largest factor of a channel. */
  readonly scales: readonly [number, number];
  /** What was found, if scales were searched for. */
  readonly search?: MappingSearch;
}

export interface MappingSearch {
  /** The exponent of the mean activations. */
  readonly ratio: number;
  /** True if the weights counted, too. */
  readonly duo: boolean;
  /**
   * tr(ΔW H ΔWᵀ) / tr(W H Wᵀ) of rounding to nearest with these scales: the squared error of what a Linear gives out as a share
   * of that, the mean over the Linears of the mapping that are quantized; by the block, of what that gives out.
   */
  readonly loss: number;
  /** The same without scales. */
  readonly unscaledLoss: number;
  /** True if it is the output of the block around them whose error was taken. */
  readonly byBlock?: boolean;
}

export interface Rewritten {
  readonly folds: readonly Fold[];
  readonly report: MappingReport;
}

export interface Rewriter {
  readonly name: RewriterName;
  /** Those of the captures of which it wants the Hessian. */
  hessians(demand: RewriterDemand): readonly Capture[];
  /** The blocks that are run for it; null where none is. */
  blocks(demand: RewriterDemand): BlockDemand | null;
  /** The block that the first run of the samples is to glance at; null where there is none. */
  glance(demand: RewriterDemand, maxBufferBytes: number): GlanceDemand | null;
  /** Floating-point operations beside those of running samples and blocks, and of Hessians. */
  work(demand: RewriterDemand): number;
  /** Begins to compile its slowest kernels for these tasks; returns at once. */
  prepare(gpu: Gpu, demand: Pick<RewriterDemand, "tasks">): void;
  /** GPU bytes that it takes beside the Hessians of a pass, within `freeBytes`; null if nothing fits. */
  bytes(demand: RewriterDemand, pass: readonly Capture[], limits: QuantizerLimits): number | null;
  rewrite(run: RewriterRun): Promise<Rewritten[]>;
}

/**
 * Factors of a mapping as folds.
 * @param scales one a channel: what readers are multiplied by
 * @throws CalibrationError if one is not a finite number above 0
 */
export function foldsOf(mapping: Mapping, scales: Float32Array<ArrayBuffer>): Fold[] {
  const bad = scales.findIndex((scale) => !(scale > 0 && Number.isFinite(scale)));
  if (bad !== -1) {
    throw new CalibrationError(
      `Channel ${bad} of ${mapping.smooth} would be divided by ${scales[bad]}: the activations or the weights behind it are not finite. Check the calibration text and the model's weights, or add the module to the modifier's ignore; finished layers are kept.`,
    );
  }
  const divided = mapping.tensors.map(({ tensor, rows, offset }): Fold => {
    // Of fused Linears the last rows are what the readers see.
    const factors = new Float32Array(rows).fill(1);
    factors.set(scales, rows - scales.length);
    return { tensor, axis: "rows", factors, divides: true, offset };
  });
  // Experts may lie in one tensor.
  const read = new Set(mapping.balance.map(({ source }) => source.tensor));
  const multiplied = Array.from(read, (tensor): Fold => ({
    tensor,
    axis: "columns",
    factors: scales,
    divides: false,
    offset: 0,
  }));
  return [...multiplied, ...divided];
}

export function reportOf(
  modifier: RewriterName,
  { smooth, balance }: Mapping,
  scales: Float32Array,
): MappingReport {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const scale of scales) {
    least = Math.min(least, scale);
    most = Math.max(most, scale);
  }
  return { modifier, smooth, balance: balance.map(({ module }) => module), scales: [least, most] };
}
