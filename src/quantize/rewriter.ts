// The contract of a modifier that moves factors between tensors before any code is chosen, so that what quantizers then do loses
// less. The model computes the same: what a norm or Linear gives out is divided by what its readers' columns are multiplied by.

import { CalibrationError } from "../errors.ts";
import type { FloatDtype } from "../formats/dtype.ts";
import type { Fold } from "../formats/fold.ts";
import type { RewriterName } from "../formats/modifiers/rewriters.ts";
import type { RewritingModifier } from "../formats/recipe.ts";
import type { Mapping } from "../model/mappings.ts";
import type { Linear } from "../model/weight-description.ts";

/** What a channel of an input reached over all tokens; see `calibrate/channels`. */
export interface ChannelStatistics {
  readonly low: Float32Array;
  readonly high: Float32Array;
  /** Σ|x|. */
  readonly magnitude: Float32Array;
  readonly tokens: number;
}

/** A layer whose samples have run: what a rewriter works on. */
export interface RewriterRun {
  readonly modifier: RewritingModifier;
  /** In the order of the forward pass. */
  readonly mappings: readonly Mapping[];
  /** Of the input that a mapping's Linears read. */
  channels(mapping: Mapping): Promise<ChannelStatistics>;
  /** A Linear's weight in host memory, (rows, columns), with all that was folded into it so far. */
  weight(linear: Linear): { readonly dtype: FloatDtype; readonly bytes: Uint8Array<ArrayBuffer> };
  dtypeOf(tensor: string): FloatDtype;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
}

/** What was done to one mapping. */
export interface MappingReport {
  readonly modifier: RewriterName;
  readonly smooth: string;
  readonly balance: readonly string[];
  /** Smallest and largest factor of a channel. */
  readonly scales: readonly [number, number];
}

export interface Rewritten {
  readonly folds: readonly Fold[];
  readonly report: MappingReport;
}

export interface Rewriter {
  readonly name: RewriterName;
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
  const multiplied = mapping.balance.map(({ source }): Fold => ({
    tensor: source.tensor,
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
