// One weight, or the weights of one fused set: what they share is found over all of their tiles first, then each tile is
// quantized. Most schemes share nothing, and their tiles are read once.

import { allEnded } from "../../all-ended.ts";
import { hasGlobalScale } from "../../formats/schemes/compression-format.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { measureTile, observeTile, type TileContext } from "../../quantize/observe/observe-tile.ts";
import type { TensorStatistics } from "../../quantize/observe/observe-weight.ts";
import {
  scanRange,
  scanTensorRange,
  sharedGlobalScale,
  stepsThatCount,
  type WeightScan,
} from "../../quantize/observe/scan-weight.ts";
import type { TileTraffic } from "../job/traffic.ts";
import type { TilePipeline } from "./tile-pipeline.ts";

/** Quantizes the weights of a step; resolves when all of their bytes were handed to `traffic.write`. */
export async function quantizeStep(
  tiles: TilePipeline,
  tasks: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<void> {
  const sets = Map.groupBy(tasks, (task) => task.fusedWith ?? task.module);
  await allEnded(Array.from(sets.values(), async (set) => await quantizeSet(tiles, set, traffic)));
}

/** Quantizes the weights of a set, which share a global scale if the set has more than one. */
async function quantizeSet(
  tiles: TilePipeline,
  set: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<void> {
  const shared = await findGlobalScale(tiles, set, traffic);
  await allEnded(
    set.map(async (task) => {
      if (shared !== null) writeGlobalScale(task, shared, traffic);
      const isTensor = task.weights.strategy === "tensor";
      const range = isTensor ? await scanTensorRange(scanOf(tiles, task, traffic)) : null;
      await quantizeWeight(tiles, task, traffic, { range, globalScale: shared });
    }),
  );
}

/**
 * Quantizes one weight. A search takes all of its steps; in the rare case that it would have ended before its last
 * improvement, the tiles are quantized again with the steps that count.
 */
async function quantizeWeight(
  tiles: TilePipeline,
  task: QuantizeTask,
  traffic: TileTraffic,
  statistics: TensorStatistics,
): Promise<void> {
  const context = { statistics, steps: null, powers: tiles.powersFor(task) };
  const counted = await tiles.encode(task, traffic, context);
  const steps = stepsThatCount(task.weights, counted);
  if (steps !== null)
    await tiles.encode(task, { ...traffic, finished: () => undefined }, { ...context, steps });
}

/** The scale that the groups of all weights of the set share (NVFP4), or null. */
async function findGlobalScale(
  tiles: TilePipeline,
  set: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<number | null> {
  const [first] = set;
  if (!first || !hasGlobalScale(first.weights)) return null;
  const scanned = await allEnded(set.map(async (task) => await scanRange(scanOf(tiles, task, traffic))));
  return sharedGlobalScale(
    scanned.map(({ range }) => range),
    first.dtype,
  );
}

function scanOf(tiles: TilePipeline, task: QuantizeTask, traffic: TileTraffic): WeightScan {
  const { gpu } = tiles;
  const record = (kernels: typeof observeTile) => async (context: TileContext) =>
    await tiles.forEachTile(task, traffic, async ({ rows }, buffers) => {
      await kernels(gpu, task, rows, buffers, context);
      return [];
    });
  return {
    args: task.weights,
    dtype: task.dtype,
    powers: tiles.powersFor(task),
    observe: record(observeTile),
    measure: record(measureTile),
  };
}

function writeGlobalScale(task: QuantizeTask, scale: number, traffic: TileTraffic): void {
  const bytes = new Uint8Array(Float32Array.of(scale).buffer);
  traffic.write(`${task.module}.weight_global_scale`, 0, bytes);
}
