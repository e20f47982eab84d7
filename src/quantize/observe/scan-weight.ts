// What the tiles of a whole weight share: the range of a tensor with one scale, NVFP4's global scale, the end of a search.
// Tiles do not know of each other, so all of them are looked at before the first is quantized.

import { roundTo, type FloatDtype } from "../../formats/numbers/dtype.ts";
import { globalScale } from "../../formats/numbers/global-scale.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { type MseSettings, mseSettings, shrinkOf, stepsTaken } from "./mse-settings.ts";
import { PLAIN_CONTEXT, type TileContext } from "./observe-tile.ts";
import type { TileStatistics } from "./tile-statistics.ts";

export type Range = readonly [number, number];

/** A weight whose tiles can be looked at as often as it takes. */
export interface WeightScan {
  readonly args: QuantizationArgs;
  readonly dtype: FloatDtype;
  /** Table of powers that the observer looks up. */
  readonly powers: TileContext["powers"];
  /** Runs `observeTile` over all tiles. */
  observe(context: TileContext): Promise<readonly TileStatistics[]>;
  /** Runs `measureTile` over all tiles. */
  measure(context: TileContext): Promise<readonly TileStatistics[]>;
}

/** Smallest and largest weight after what the observer made of each group's range, and the steps that its search takes. */
export async function scanRange(scan: WeightScan): Promise<{ range: Range; steps: number | null }> {
  const context = { ...PLAIN_CONTEXT, powers: scan.powers };
  const counted = await scan.observe(context);
  const steps = stepsThatCount(scan.args, counted);
  const last = steps === null ? counted : await scan.observe({ ...context, steps });
  return { range: rangeOf(last), steps };
}

/** Smallest and largest weight of all tiles. */
export function rangeOf(tiles: readonly TileStatistics[]): Range {
  return [Math.min(...tiles.map(({ low }) => low)), Math.max(...tiles.map(({ high }) => high))];
}

/** The scale that the groups of all weights of a fused set share (NVFP4), from what `scanRange` found of each. */
export function sharedGlobalScale(ranges: readonly Range[], dtype: FloatDtype): number {
  return globalScale(Math.max(...ranges.map(([low, high]) => Math.max(-low, high))), dtype);
}

/** The range that a whole tensor shares (strategy "tensor"), as its observer chooses it. */
export async function scanTensorRange(scan: WeightScan): Promise<Range> {
  const { range: observed } = await scanRange(scan);
  const settings = mseSettings(scan.args);
  if (!settings) return observed;
  const range = scaled(observed, Math.fround(settings.expand), scan.dtype);
  const statistics = { range, globalScale: null };
  const counted = await scan.measure({ ...PLAIN_CONTEXT, powers: scan.powers, statistics });
  return scaled(range, bestShrink(scan.dtype, settings, counted), scan.dtype);
}

/**
 * Steps after which a search ends too early to see all improvements, or null if it sees them all. It ends once some steps
 * in a row have improved no group of the whole tensor.
 */
export function stepsThatCount(args: QuantizationArgs, counted: readonly TileStatistics[]): number | null {
  const settings = mseSettings(args);
  if (!settings || args.strategy === "tensor") return null;
  const improved = Array.from({ length: settings.steps }, (_, step) =>
    counted.some(({ steps }) => steps[step] === 1),
  );
  const taken = stepsTaken(improved, settings.patience);
  return improved.includes(true, taken) ? taken : null;
}

function scaled([low, high]: Range, factor: number, dtype: FloatDtype): Range {
  return [roundTo(dtype, low * factor), roundTo(dtype, high * factor)];
}

/** The share of the range whose error over all tiles is least; the search ends as it does for groups. */
function bestShrink(dtype: FloatDtype, settings: MseSettings, counted: readonly TileStatistics[]): number {
  const perTile = counted.map(({ steps }) => new Float32Array(steps.slice().buffer));
  let best = { error: Number.POSITIVE_INFINITY, step: 0 };
  for (let step = 0; step < settings.steps && step - best.step <= settings.patience; step++) {
    const sum = perTile.reduce((total, errors) => Math.fround(total + (errors[step] ?? 0)), 0);
    const error = roundTo(dtype, sum);
    if (error < best.error) best = { error, step };
  }
  return shrinkOf(best.step, settings);
}
