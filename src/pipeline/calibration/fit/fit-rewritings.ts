// How the modifiers that move factors fit the GPU in a layer: how many runs of the samples the Hessians that they want take.

import { blockLossBytes } from "../../../calibrate/blocks/block-losses.ts";
import { hessianBytes } from "../../../calibrate/hessians.ts";
import { type Capture, linearsBeforeOutput } from "../../../model/layer-linears.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { foldBytes } from "../../../onload/fold-onloaded.ts";
import type { Residency } from "../../../onload/residency.ts";
import type { BlockDemand } from "../../../quantize/rewriter.ts";
import { glanceBytes, type GlanceShape } from "../costs/glance-bytes.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import {
  type CalibratedLayer,
  demandOf,
  type LayerRewriting,
  leavesWhileRewriting,
  linearsUpTo,
} from "../layers/calibrated-layer.ts";
import {
  calibratePhase,
  type GpuLimits,
  type OnloadPhase,
  onloadPhase,
} from "../costs/calibration-memory.ts";
import type { LayerRun } from "../costs/layer-seconds.ts";
import { isPacked, packCaptures, type Packing } from "./pack-captures.ts";

/** A run of the samples for a modifier. */
export interface RewritePass {
  /** Inputs whose Hessians are collected. */
  readonly captures: readonly Capture[];
  /** How the weights lie on the GPU meanwhile. */
  readonly residency: Residency;
  /** What the modifier may take beside those Hessians, once the weights are gone. */
  readonly freeBytes: number;
  /** True if blocks are run with each variant of their weights; then no Hessians are collected. */
  readonly runsBlocks: boolean;
  /** True if it goes on to the layer's output, which then is what these samples see of the next layer. */
  readonly propagates: boolean;
}

export interface FittedRewritings {
  /** The passes of each modifier, none where it has nothing to do. */
  readonly passes: readonly (readonly RewritePass[])[];
  readonly runs: readonly LayerRun[];
  /** The most GPU bytes that modifiers take beside nothing else. */
  readonly bytes: number;
  /** The most that they, and what folds their factors there, take beside a layer's weights if these stay all the time. */
  readonly besideWeights: number;
}

/** What of a job's shape tells the memory of its passes. */
export interface RewriteShape extends GlanceShape {
  /** Tokens whose MLP is computed at once. */
  readonly mlpTokens: number;
  readonly tileBytes: number;
  readonly packing: Packing;
}

/** Null if not even one Hessian at a time fits. */
export function fitRewritings(
  layer: CalibratedLayer,
  shape: RewriteShape,
  free: GpuLimits,
): FittedRewritings | null {
  const runs: LayerRun[] = [];
  const passes: RewritePass[][] = [];
  let [bytes, blockBytes] = [0, 0];
  const last = leavesWhileRewriting(layer) ? layer.rewritings.findLast(isAtWork) : null;
  for (const rewriting of layer.rewritings) {
    if (!isAtWork(rewriting)) {
      passes.push([]);
      continue;
    }
    const blocks = rewriterFor(rewriting.modifier).blocks(demandOf(layer, rewriting));
    const collecting = collectingPasses(
      layer,
      rewriting,
      { ...shape, leaves: rewriting === last && !blocks },
      free,
    );
    if (!collecting) return null;
    const own = [...collecting.passes];
    runs.push(...collecting.runs);
    bytes = Math.max(bytes, collecting.bytes);
    blockBytes = Math.max(blockBytes, collecting.glanceBytes);
    if (blocks) {
      const used = usedByBlocks(layer, blocks, shape);
      const run = blockRun(layer, blocks.runs, { ...shape, used }, free);
      if (!run) return null;
      blockBytes = Math.max(blockBytes, used);
      runs.push(run);
      const { residency } = run.onload;
      own.push({ captures: [], residency, freeBytes: 0, runsBlocks: true, propagates: rewriting === last });
    }
    passes.push(own);
  }
  return { passes, runs, bytes, besideWeights: Math.max(bytes, blockBytes, foldBytes(layer.linears)) };
}

/** The runs of the samples that collect for a modifier, the last of which may go on to the layer's output. */
interface Collecting extends Pick<FittedRewritings, "runs" | "bytes"> {
  readonly passes: readonly RewritePass[];
  /** Of the first of them, if it glances at a block: that, and its Hessians. */
  readonly glanceBytes: number;
}

function collectingPasses(
  layer: CalibratedLayer,
  rewriting: LayerRewriting,
  { leaves, ...shape }: RewriteShape & { readonly leaves: boolean },
  free: GpuLimits,
): Collecting | null {
  const glance = glanceBytes(layer, rewriting, shape, free.maxBufferBytes);
  const grouped = packed(layer, rewriting, { ...shape, glance }, free);
  const runs: LayerRun[] = [];
  const passes: RewritePass[] = [];
  let bytes = 0;
  for (const [index, captures] of grouped.entries()) {
    const propagates = leaves && index === grouped.length - 1;
    const linears = propagates ? layer.linears : linearsBeforeOutput(layer.description);
    const beside = { tileBytes: shape.tileBytes, used: index === 0 ? glance : 0, linears };
    const onload = phaseBeside(layer, captures, beside, free);
    const used = usedBytes(layer, rewriting, captures, free);
    if (!onload || used === null) return null;
    bytes = Math.max(bytes, used);
    runs.push({ onload, linears: propagates ? linears : linearsUpTo(layer, captures), times: 1 });
    const { residency } = onload;
    passes.push({
      captures,
      residency,
      freeBytes: freeBeside(captures, free),
      runsBlocks: false,
      propagates,
    });
  }
  const [first = []] = grouped;
  const glancing = glance > 0 ? glance + hessianBytes(first, free.maxBufferBytes) : 0;
  return { passes, runs, bytes, glanceBytes: glancing };
}

/** True if the original model's samples need a run of their own to go on to the next layer. */
export function leavesApart(layer: CalibratedLayer, passes: FittedRewritings["passes"]): boolean {
  const left = passes.flat().some(({ propagates }) => propagates);
  return layer.rewritesOriginal && layer.drifting === null && !left;
}

function usedByBlocks(
  { description: { hiddenSize } }: CalibratedLayer,
  { mappings, runs, together, bytes }: BlockDemand,
  { tokens, mlpTokens }: RewriteShape,
): number {
  const sizes = mappings.flatMap(({ block }) =>
    block ? [{ kind: block, variants: runs, ...(together && { together }) }] : [],
  );
  return bytes + blockLossBytes(sizes, { tokens, mlpTokens, hiddenSize });
}

/** A run of the samples in which blocks are run with each variant; weights that are streamed come anew for each. */
function blockRun(
  layer: CalibratedLayer,
  runs: number,
  { tileBytes, used }: Pick<RewriteShape, "tileBytes"> & { readonly used: number },
  free: GpuLimits,
): LayerRun | null {
  const onload = onloadPhase(layer, layer.linears, tileBytes, free.budgetBytes - used, free);
  if (!onload) return null;
  return { onload: { ...onload, bytes: onload.bytes + used }, linears: layer.linears, times: runs + 2 };
}

interface Beside {
  readonly tileBytes: number;
  /** Bytes that the run takes beside what it collects. */
  readonly used: number;
  readonly linears: readonly Linear[];
}

function phaseBeside(
  layer: CalibratedLayer,
  captures: readonly Capture[],
  { tileBytes, used, linears }: Beside,
  free: GpuLimits,
): OnloadPhase | null {
  const left = { ...free, budgetBytes: free.budgetBytes - used };
  const onload = calibratePhase(layer, captures, tileBytes, left, linears);
  return onload && { ...onload, bytes: onload.bytes + used };
}

function isAtWork({ mappings }: LayerRewriting): boolean {
  return mappings.length > 0;
}

/** Hessians in few passes that fit; one pass without any where none are wanted. */
function packed(
  layer: CalibratedLayer,
  rewriting: LayerRewriting,
  { tileBytes, glance, packing }: RewriteShape & { readonly glance: number },
  free: GpuLimits,
): readonly (readonly Capture[])[] {
  // Which pass comes first is not known yet.
  const beside = { tileBytes, used: glance, linears: linearsBeforeOutput(layer.description) };
  const passes = packCaptures(
    rewriting.hessians,
    (pass) =>
      isPacked(phaseBeside(layer, pass, beside, free), packing) &&
      usedBytes(layer, rewriting, pass, free) !== null,
  );
  return passes.length > 0 ? passes : [[]];
}

function freeBeside(captures: readonly Capture[], { budgetBytes, maxBufferBytes }: GpuLimits): number {
  return budgetBytes - hessianBytes(captures, maxBufferBytes);
}

/** The Hessians of a pass and what the modifier takes beside them; null if that does not fit. */
function usedBytes(
  layer: CalibratedLayer,
  rewriting: LayerRewriting,
  captures: readonly Capture[],
  free: GpuLimits,
): number | null {
  const { maxBufferBytes } = free;
  const limits = { freeBytes: freeBeside(captures, free), maxBufferBytes };
  const own = rewriterFor(rewriting.modifier).bytes(demandOf(layer, rewriting), captures, limits);
  return own === null ? null : hessianBytes(captures, maxBufferBytes) + own;
}
