// What a module's tiles share, found before the first of them is quantized: the range of a tensor with one scale, NVFP4's
// global scale, the steps that a search takes.

import { hasGlobalScale } from "../../formats/compression-format.ts";
import type { QuantizationArgs } from "../../formats/quantization-args.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import { measureTile, observeTile, type TileContext } from "../observe/observe-tile.ts";
import {
  type Range,
  scanRange,
  scanTensorRange,
  sharedGlobalScale,
  type WeightScan,
} from "../observe/scan-weight.ts";
import { readStatistics, type TileStatistics } from "../observe/tile-statistics.ts";
import type { RtnTask } from "../rtn/tile-buffers.ts";
import type { FactoredHessian } from "./factor-hessian.ts";
import {
  checkFinite,
  type GptqWorkspace,
  type ModuleContext,
  type ModuleServices,
  powersOf,
  type TiledTask,
  uploadTables,
} from "./quantize-module.ts";
import { observedTile } from "./quantize-tile.ts";

/** What the observer found over all tiles of a module. */
export interface ModuleObservation {
  readonly range: Range;
  readonly steps: number | null;
}

/** True if the tiles of a weight cannot be quantized one after the other without having seen all of them. */
export function needsScan(args: QuantizationArgs): boolean {
  return args.strategy === "tensor" || hasGlobalScale(args) || mseSettings(args) !== null;
}

/**
 * Observes all tiles of a module.
 * @throws MalformedModelError if a weight is NaN or infinite.
 */
export async function observeModule(
  { task, tileRows }: TiledTask,
  factored: FactoredHessian,
  { work, results }: GptqWorkspace,
  services: ModuleServices,
): Promise<ModuleObservation> {
  await uploadTables(task, factored, work, services.uploads);
  const own = await results.acquire();
  const buffers = { ...work, ...own };
  const eachTile = (kernels: typeof observeTile) => async (context: TileContext) => {
    const counted: TileStatistics[] = [];
    for (let firstRow = 0; firstRow < task.rows; firstRow += tileRows) {
      await services.checkpoint();
      const rows = Math.min(tileRows, task.rows - firstRow);
      await services.weights.load(firstRow, rows, work.source);
      const seen = await observedTile(services.gpu, task, rows, buffers);
      await kernels(services.gpu, seen.weight, rows, seen.buffers, context);
      const statistics = readStatistics(await services.readbacks.readBytes(own.statistics));
      checkFinite(task, firstRow, statistics);
      counted.push(statistics);
    }
    return counted;
  };
  const scan: WeightScan = {
    args: task.weights,
    dtype: task.dtype,
    powers: powersOf(task, work),
    observe: eachTile(observeTile),
    measure: eachTile(measureTile),
  };
  try {
    if (task.weights.strategy !== "tensor") return await scanRange(scan);
    return { range: await scanTensorRange(scan), steps: null };
  } finally {
    results.release(own);
  }
}

/**
 * What each module of a fused set (or one alone) is quantized with, from what was observed of those that need it. Groups of
 * all modules of a set share one global scale.
 */
export function moduleContexts(
  set: readonly {
    readonly task: Pick<RtnTask, "module" | "dtype" | "weights">;
    readonly observed: ModuleObservation | null;
  }[],
): ReadonlyMap<string, ModuleContext> {
  const scaled = set.filter(({ task }) => hasGlobalScale(task.weights));
  const ranges = scaled.map(({ observed }) => observed?.range ?? ([0, 0] as const));
  const [first] = scaled;
  const globalScale = first ? sharedGlobalScale(ranges, first.task.dtype) : null;
  return new Map(
    set.map(({ task: { module, weights }, observed }) => {
      const range = weights.strategy === "tensor" ? (observed?.range ?? null) : null;
      const statistics = { range, globalScale: hasGlobalScale(weights) ? globalScale : null };
      return [module, { statistics, steps: observed?.steps ?? null }];
    }),
  );
}
