// Who does what of a layer that several jobs share, and how the files are called that they leave for each other. All of it
// follows from the plan, which all of them have.

import type { Capture } from "../../../model/layer-linears.ts";
import type { QuantizeTask } from "../../../plan/plan-steps.ts";
import { byQuantizer } from "../../../quantize/quantizers.ts";
import type { ChunkRange } from "../../../calibrate/chunk-tree.ts";
import type { PlannedShare } from "../../planning/compression-plan.ts";
import type { ShareAtWork } from "../services.ts";
import type { CalibratedLayer } from "../../calibration/layers/calibrated-layer.ts";

interface OwnedLayer {
  readonly layer: Pick<CalibratedLayer, "tasks" | "leavesErrors">;
  /** Its place among the decoder's layers. */
  readonly index: number;
}

/**
 * The share that quantizes the modules of each capture of a pass: the costliest ones first, each by the share that has the least
 * to do. Where no error goes on, and samples of the next layer run meanwhile, shares take turns from layer to layer.
 */
export function ownersOf(
  { layer: { tasks, leavesErrors }, index }: OwnedLayer,
  captures: readonly Capture[],
  shares: number,
): ReadonlyMap<Capture, number> {
  const turn = leavesErrors ? 0 : index;
  const costs = captures.map((capture) => ({ capture, work: workOf(capture, tasks) }));
  const loads = Array.from({ length: shares }, () => 0);
  const owners = new Map<Capture, number>();
  for (const { capture, work } of costs.toSorted((a, b) => b.work - a.work)) {
    const owner = loads.indexOf(Math.min(...loads));
    loads[owner] = (loads[owner] ?? 0) + work;
    owners.set(capture, (owner + turn) % shares);
  }
  return owners;
}

function workOf({ modules, columns }: Capture, tasks: readonly QuantizeTask[]): number {
  const own = tasks.filter(({ module }) => modules.includes(module));
  return [...byQuantizer(own)].reduce((sum, [quantizer, each]) => sum + quantizer.work(columns, each), 0);
}

export interface ShareNames {
  /** What a share counted while its samples ran in a pass. */
  counts(pass: number, share: number): string;
  /** A piece of a sum over the samples of some chunks. */
  piece(capture: number, chunks: ChunkRange, piece: number): string;
  /** A quantized module, by its place among the layer's. */
  module(task: number): string;
}

export function shareNames({ jobId }: Pick<PlannedShare, "jobId">, layer: number): ShareNames {
  const folder = `${jobId}/layer-${layer}`;
  return {
    counts: (pass, share) => `${folder}/pass-${pass}-share-${share + 1}.json`,
    piece: (capture, { first, end }, piece) =>
      `${folder}/hessian-${capture}-chunks-${first}-${end}-piece-${piece}.f32`,
    module: (task) => `${folder}/module-${task}.bin`,
  };
}

/** True if all of a layer's modules are quantized, as after an interruption: then no samples have to run for them. */
export async function areGiven(share: ShareAtWork | null, layer: number, tasks: number): Promise<boolean> {
  if (!share || share.plan.of === 1) return false;
  const names = shareNames(share.plan, layer);
  for (let task = 0; task < tasks; task++) if (!(await share.exchange.has(names.module(task)))) return false;
  return true;
}
