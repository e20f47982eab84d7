// One weight, or the weights of one fused set: what they share is found over all of their tiles first, then each tile is
// quantized. Most schemes share nothing, and their tiles are read once.

import { hasGlobalScale } from "../../formats/compression-format.ts";
import { roundTo } from "../../formats/dtype.ts";
import { globalScale } from "../../formats/global-scale.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { type MseSettings, mseSettings, shrinkOf, stepsTaken } from "../../quantize/observe/mse-settings.ts";
import { NO_STATISTICS, type TensorStatistics } from "../../quantize/observe/observe-weight.ts";
import { measureTile, observeTile, type TileContext } from "../../quantize/rtn/quantize-tile.ts";
import type { TilePipeline } from "./tile-pipeline.ts";
import type { TileStatistics } from "./tile-statistics.ts";
import type { TileTraffic } from "../job/traffic.ts";

type Range = readonly [number, number];

/** Quantizes the weights of a step; resolves when all of their bytes were handed to `traffic.write`. */
export async function quantizeStep(
  tiles: TilePipeline,
  tasks: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<void> {
  const sets = Map.groupBy(tasks, (task) => task.fusedWith ?? task.module);
  await Promise.all(Array.from(sets.values(), async (set) => await quantizeSet(tiles, set, traffic)));
}

/** Quantizes the weights of a set, which share a global scale if the set has more than one. */
async function quantizeSet(
  tiles: TilePipeline,
  set: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<void> {
  const shared = await findGlobalScale(tiles, set, traffic);
  await Promise.all(
    set.map(async (task) => {
      if (shared !== null) writeGlobalScale(task, shared, traffic);
      const range = await findTensorRange(tiles, task, traffic);
      await quantizeWeight(tiles, task, traffic, { range, globalScale: shared });
    }),
  );
}

/**
 * Quantizes one weight. A search ends once some steps in a row have improved no group of the whole tensor; tiles do not
 * know of each other, so all steps are taken, and in the rare case that the search would have ended before its last
 * improvement, the tiles are quantized again with the steps that count.
 */
async function quantizeWeight(
  tiles: TilePipeline,
  task: QuantizeTask,
  traffic: TileTraffic,
  statistics: TensorStatistics,
): Promise<void> {
  const context = contextFor(tiles, task, statistics);
  const counted = await tiles.encode(task, traffic, context);
  const steps = stepsThatCount(task, counted);
  if (steps !== null)
    await tiles.encode(task, { ...traffic, finished: () => undefined }, { ...context, steps });
}

function contextFor(tiles: TilePipeline, task: QuantizeTask, statistics: TensorStatistics): TileContext {
  return { statistics, steps: null, powers: tiles.powersFor(task) };
}

/** Steps after which the search ends too early to see all improvements, or null if it sees them all. */
function stepsThatCount(task: QuantizeTask, counted: readonly TileStatistics[]): number | null {
  const settings = mseSettings(task.weights);
  if (!settings || task.weights.strategy === "tensor") return null;
  const improved = Array.from({ length: settings.steps }, (_, step) =>
    counted.some(({ steps }) => steps[step] === 1),
  );
  const taken = stepsTaken(improved, settings.patience);
  return improved.includes(true, taken) ? taken : null;
}

/** The scale that the groups of all weights of the set share (NVFP4), or null. */
async function findGlobalScale(
  tiles: TilePipeline,
  set: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<number | null> {
  const [first] = set;
  if (!first || !hasGlobalScale(first.weights)) return null;
  const magnitudes = await Promise.all(
    set.map(async (task) => {
      const [low, high] = await observeWeight(tiles, task, traffic);
      return Math.max(-low, high);
    }),
  );
  return globalScale(Math.max(...magnitudes), first.dtype);
}

/** Smallest and largest weight after what the observer made of each group's range. */
async function observeWeight(tiles: TilePipeline, task: QuantizeTask, traffic: TileTraffic): Promise<Range> {
  const observe = async (context: TileContext) =>
    await tiles.forEachTile(task, traffic, async ({ rows }, buffers) => {
      await observeTile(tiles.gpu, task, rows, buffers, context);
      return [];
    });
  const context = contextFor(tiles, task, NO_STATISTICS);
  const counted = await observe(context);
  const steps = stepsThatCount(task, counted);
  const last = steps === null ? counted : await observe({ ...context, steps });
  return [Math.min(...last.map(({ low }) => low)), Math.max(...last.map(({ high }) => high))];
}

/** The range that the whole tensor shares, or null for all strategies but "tensor". */
async function findTensorRange(
  tiles: TilePipeline,
  task: QuantizeTask,
  traffic: TileTraffic,
): Promise<Range | null> {
  if (task.weights.strategy !== "tensor") return null;
  const observed = await observeWeight(tiles, task, traffic);
  const settings = mseSettings(task.weights);
  if (!settings) return observed;
  const range = scaled(observed, Math.fround(settings.expand), task);
  const statistics = { range, globalScale: null };
  const context = contextFor(tiles, task, statistics);
  const counted = await tiles.forEachTile(task, traffic, async ({ rows }, buffers) => {
    await measureTile(tiles.gpu, task, rows, buffers, context);
    return [];
  });
  return scaled(range, bestShrink(task, settings, counted), task);
}

function scaled([low, high]: Range, factor: number, { dtype }: QuantizeTask): Range {
  return [roundTo(dtype, low * factor), roundTo(dtype, high * factor)];
}

/** The share of the range whose error over all tiles is least; the search ends as it does for groups. */
function bestShrink(
  { dtype }: QuantizeTask,
  settings: MseSettings,
  counted: readonly TileStatistics[],
): number {
  const perTile = counted.map(({ steps }) => new Float32Array(steps.slice().buffer));
  let best = { error: Number.POSITIVE_INFINITY, step: 0 };
  for (let step = 0; step < settings.steps && step - best.step <= settings.patience; step++) {
    const sum = perTile.reduce((total, errors) => Math.fround(total + (errors[step] ?? 0)), 0);
    const error = roundTo(dtype, sum);
    if (error < best.error) best = { error, step };
  }
  return shrinkOf(best.step, settings);
}

function writeGlobalScale(task: QuantizeTask, scale: number, traffic: TileTraffic): void {
  const bytes = new Uint8Array(Float32Array.of(scale).buffer);
  traffic.write(`${task.module}.weight_global_scale`, 0, bytes);
}
