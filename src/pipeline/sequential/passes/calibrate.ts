// Runs all samples through the original weights and collects what the quantizers and the static scales want.

import { collectorHooks, type Collector } from "../../../calibrate/collector.ts";
import type { SequenceBatch } from "../../../calibrate/batches.ts";
import type { InputDrifts } from "../../../calibrate/drifts/input-drifts.ts";
import { type HessianTree, openHessianTree } from "../../../calibrate/hessian-tree.ts";
import { type Hessians, openHessians } from "../../../calibrate/hessians.ts";
import { type ActivationRanges, openActivationRanges } from "../../../calibrate/ranges/activation-ranges.ts";
import { type InputSquares, openInputSquares } from "../../../calibrate/squares/input-squares.ts";
import { type Lifetime, openTogether } from "../../../disposal.ts";
import { sharesOf } from "../../calibration/layers/calibrated-layer.ts";
import { invariant } from "../../../errors.ts";
import { type Capture, linearsBeforeOutput } from "../../../model/layer-linears.ts";
import type { StaticScale } from "../../calibration/layers/static-scales.ts";
import type { LayerAtWork, LeftLayer, Pass } from "../layer-at-work.ts";
import { rangeCollector } from "./measure-scales.ts";
import { leave } from "./propagate.ts";
import { openDrifts, runOriginal } from "./run-original.ts";
import { runSamples } from "./run-samples.ts";

/** What a pass has collected. */
export interface PassStatistics extends Disposable {
  readonly inputs: Hessians;
  /** The same where samples lie in chunks: sums that are yet to be added, to those of other jobs, too. */
  readonly tree: HessianTree | null;
  /** How inputs drifted from those of the original model; null where nobody wants to know. */
  readonly drifts: InputDrifts | null;
  /** Of the first pass, which is made for them alone if nothing else is wanted; null in others. */
  readonly ranges: ActivationRanges | null;
  /** Of the first pass, too; null in others. */
  readonly squares: InputSquares | null;
}

export async function calibrate(work: LayerAtWork, pass: Pass): Promise<PassStatistics> {
  const isFirst = pass.index === 0;
  const scales = isFirst ? sharesOf(work.layer).flatMap((each) => each.scales) : [];
  const weighed = isFirst ? work.layer.weighed : [];
  return await openTogether(async (parts) => {
    const statistics = await openStatistics(work, pass, { scales, weighed }, parts);
    const { inputs, ranges, squares, drifts } = statistics;
    const collectors = [inputs, ranges && rangeCollector(ranges), squares, drifts?.compare ?? null].filter(
      (collector) => collector !== null,
    );
    const wanted = new Set([
      ...[...pass.captures, ...weighed].flatMap(({ modules }) => modules),
      ...scales.map(({ reached }) => reached),
    ]);
    if (pass.collects) await collect(work, pass, { collectors, wanted, drifts });
    drifts?.finish();
    return statistics;
  });
}

/** What a pass wants to know of activations besides Hessians. */
interface Wanted {
  readonly scales: readonly StaticScale[];
  readonly weighed: readonly Capture[];
}

async function openStatistics(
  work: LayerAtWork,
  pass: Pass,
  { scales, weighed }: Wanted,
  parts: Lifetime,
): Promise<Omit<PassStatistics, keyof Disposable>> {
  const { gpu, samples, chunkAt } = work.services;
  const observed = [...new Set(scales.flatMap((scale) => scale.observed))];
  const ranges = scales.length > 0 ? parts.use(await openActivationRanges(gpu, observed, samples)) : null;
  const maxPanelBytes = gpu.device.limits.maxStorageBufferBindingSize;
  const tree =
    chunkAt && openHessianTree(gpu, pass.captures, { samples, maxPanelBytes, chunkOf: chunks(chunkAt) });
  const inputs = parts.use(tree ?? (await openHessians(gpu, pass.captures, samples, maxPanelBytes)));
  const squares = weighed.length > 0 ? parts.use(await openInputSquares(gpu, weighed)) : null;
  const drifts = await openDrifts(work, pass);
  if (drifts) parts.use(drifts);
  return { inputs, tree, drifts, ranges, squares };
}

function chunks(chunkAt: readonly number[]) {
  return ({ first }: SequenceBatch): number => {
    const chunk = chunkAt[first];
    invariant(chunk !== undefined, "each batch belongs to a chunk");
    return chunk;
  };
}

interface Collecting {
  readonly collectors: readonly Collector[];
  /** Modules whose inputs are wanted. */
  readonly wanted: ReadonlySet<string>;
  readonly drifts: InputDrifts | null;
}

async function collect(
  work: LayerAtWork,
  pass: Pass,
  { collectors, wanted, drifts }: Collecting,
): Promise<void> {
  const { layer, services, collections } = work;
  const { residency, atWork } = pass;
  const before = runOriginal(work, pass, { wanted, drifts });
  const save = pass.leaves ? leaveCollecting(work) : null;
  const linears = before || save ? layer.linears : linearsBeforeOutput(layer.description);
  await runSamples(work, {
    needed: { linears, residency },
    atWork,
    begin: (batch) => collectors.forEach((collector) => collector.begin?.(batch)),
    ...(before && { before }),
    each: save ?? (async () => await services.checkpoint()),
    collect: {
      hooks: collectorHooks(collectors),
      wanted,
      experts: services.experts,
      stopAtLastInput: save === null,
    },
    report: (detail, done) => services.report("calibrating", detail, done / collections),
  });
}

/** Samples go on to the next layer as they are; none is left to propagate. */
function leaveCollecting(work: LayerAtWork): LeftLayer["save"] {
  const behind = leave(work);
  work.left.behind = behind;
  return behind.save;
}
