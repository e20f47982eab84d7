// GPU memory that is set aside for a whole job, beside what a layer takes.

import { inputChannelsBytes } from "../../../calibrate/channels/input-channels.ts";
import type { CalibrationSet } from "../../../calibrate/select-sequences.ts";
import { distinctIds } from "../../../calibrate/forward/token-inputs/token-input-source.ts";
import { tokenTablesBytes } from "../../../calibrate/forward/token-inputs/token-inputs.ts";
import { bufferBytes } from "../../../gpu/memory.ts";
import { inputSquaresBytes } from "../../../calibrate/squares/input-squares.ts";
import { activationRangesBytes } from "../../../calibrate/ranges/activation-ranges.ts";
import type { DecoderDescription } from "../../../model/decoder-description.ts";
import type { GpuLimits } from "./calibration-memory.ts";
import { planTiling, type Tiling } from "../../../quantize/rtn/plan-tiling.ts";
import { quantizerFor } from "../../../quantize/quantizers.ts";
import { type CalibratedLayer, sharesOf } from "../layers/calibrated-layer.ts";

/** Share of the GPU budget that tiles may take beside a calibrating layer. */
const TILES_SHARE = 1 / 8;

/** What stands beside everything else. */
export interface Aside {
  readonly tiling: Tiling | null;
  readonly bytes: number;
  /** So many of them are a layer's own. */
  readonly collected: number;
}

/** What is set aside for tiles, ranges, squares and channels. */
export function besideBytes(
  layers: readonly CalibratedLayer[],
  set: CalibrationSet,
  budgetBytes: number,
): Aside {
  const tiled = layers
    .flatMap(sharesOf)
    .flatMap(({ tasks }) => tasks.filter((task) => quantizerFor(task).tiled));
  const tiling = tiled.length > 0 ? planTiling(tiled, budgetBytes * TILES_SHARE) : null;
  const ranges = layers.map((layer) => {
    const observed = new Set(
      sharesOf(layer).flatMap(({ scales }) => scales.flatMap((scale) => scale.observed)),
    );
    return activationRangesBytes(observed.size, set.sequences.length);
  });
  const channels = layers.flatMap(({ rewritings }) =>
    rewritings.map(({ captures: read }) => inputChannelsBytes(read)),
  );
  const squares = layers.map(({ weighed }) => inputSquaresBytes(weighed));
  const collected = Math.max(0, ...ranges) + Math.max(0, ...squares) + Math.max(0, ...channels);
  return { tiling, bytes: (tiling?.peakBytes ?? 0) + collected, collected };
}

/** What token blocks are given, and each token's row of it. */
export function tokenInputBytes(
  { tokenInputs, hiddenSize }: DecoderDescription,
  { sequences, tokens }: CalibrationSet,
  { maxBufferBytes }: GpuLimits,
): number {
  if (!tokenInputs) return 0;
  const ids = distinctIds(sequences).ids.length;
  // At most as many batches as sequences, each in a buffer of its own.
  const rows = tokens * 4 + sequences.length * bufferBytes(1);
  return tokenTablesBytes({ size: tokenInputs.size, hiddenSize, ids }, maxBufferBytes) + rows;
}
