// What a module's tiles share, found before the first of them is quantized: the range of a tensor with one scale, NVFP4's
// global scale, the steps that a search takes.

import { allEnded } from "../../all-ended.ts";
import { beginJointly } from "../../joint-work.ts";
import { waitLater } from "../../wait-later.ts";
import { hasGlobalScale } from "../../formats/schemes/compression-format.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import { mseSettings } from "../observe/mse-settings.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import type { ReadPart } from "../../gpu/staging/readback-ring.ts";
import {
  measureTile,
  type ObserveBuffers,
  type ObservedWeight,
  observeTile,
  PLAIN_CONTEXT,
  type TileContext,
} from "../observe/observe-tile.ts";
import {
  type Range,
  rangeOf,
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
import type { GptqBuffers } from "./gptq-buffers.ts";
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
 * Observes all tiles of a module. Resolves when other modules may be: of an observer that searches when all is known, else when its
 * kernels are recorded.
 * @throws MalformedModelError, as rejection of `observed` or by itself, if a weight is NaN or infinite
 */
export async function observeModule(
  tiled: TiledTask,
  factored: FactoredHessian,
  { work, results }: GptqWorkspace,
  services: ModuleServices,
): Promise<{ readonly observed: Promise<ModuleObservation> }> {
  const { task } = tiled;
  await uploadTables(task, factored, work, services.uploads);
  const own = await results.acquire();
  const look = async (kernels: typeof observeTile, context: TileContext) =>
    await lookAtTiles(tiled, { ...work, ...own }, services, async (...of) => await kernels(...of, context));
  try {
    const powers = powersOf(task, work);
    if (mseSettings(task.weights) === null) {
      const { counted } = await look(observeTile, { ...PLAIN_CONTEXT, powers });
      const observed = counted.then((tiles) => ({ range: rangeOf(tiles), steps: null }));
      return { observed: waitLater(observed) };
    }
    const scan: WeightScan = {
      args: task.weights,
      dtype: task.dtype,
      powers,
      observe: async (context) => await (await look(observeTile, context)).counted,
      measure: async (context) => await (await look(measureTile, context)).counted,
    };
    const range = task.weights.strategy === "tensor" ? await scanTensorRange(scan) : null;
    return { observed: Promise.resolve(range ? { range, steps: null } : await scanRange(scan)) };
  } finally {
    results.release(own);
  }
}

/** Records kernels over all tiles of a module; `counted` is what they counted, when it has come. */
async function lookAtTiles(
  { task, tileRows }: TiledTask,
  buffers: GptqBuffers,
  services: ModuleServices,
  record: (gpu: Gpu, weight: ObservedWeight, rows: number, buffers: ObserveBuffers) => Promise<void>,
): Promise<{ readonly counted: Promise<TileStatistics[]> }> {
  const { gpu, readbacks, weights } = services;
  const { statistics: from } = buffers;
  return await beginJointly(async (joint) => {
    const reads: Promise<TileStatistics>[] = [];
    for (let firstRow = 0; firstRow < task.rows; firstRow += tileRows) {
      await services.checkpoint();
      joint.check();
      const rows = Math.min(tileRows, task.rows - firstRow);
      await weights.load(firstRow, rows, buffers.source);
      const seen = await observedTile(gpu, task, rows, buffers);
      await record(gpu, seen.weight, rows, seen.buffers);
      const words = new Uint8Array(from.bytes);
      const consume: ReadPart["consume"] = (view, position) => words.set(view, position);
      const { done } = await readbacks.startParts([{ from, offset: 0, bytes: from.bytes, consume }]);
      const read = async () => {
        await done;
        const statistics = readStatistics(words);
        checkFinite(task, firstRow, statistics);
        return statistics;
      };
      reads.push(joint.watch(read()));
    }
    return { counted: waitLater(allEnded(reads)) };
  });
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
