// Lets each modifier that moves factors between tensors see what the samples do in the layer, and folds what it finds into the
// layer where codes are chosen of it later: in host memory, or where its weights lie on the GPU.

import { type InputChannels, openInputChannels } from "../../../calibrate/channels/input-channels.ts";
import { collectorHooks, type Collector } from "../../../calibrate/collector.ts";
import { openHessians } from "../../../calibrate/hessians.ts";
import { invariant } from "../../../errors.ts";
import type { Fold } from "../../../formats/weights/fold.ts";
import { linearsBeforeOutput } from "../../../model/layer-linears.ts";
import type { Mapping } from "../../../model/mappings.ts";
import { linearRows } from "../../../onload/host-layer.ts";
import type {
  ChannelStatistics,
  Glance,
  RewriterPass,
  RewriterRun,
  Rewritten,
} from "../../../quantize/rewriter.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import { demandOf, type LayerRewriting } from "../../calibration/layers/calibrated-layer.ts";
import { leavesApart, type RewritePass } from "../../calibration/fit/fit-rewritings.ts";
import { type LayerAtWork, leaveGpu, stayOnGpu } from "../layer-at-work.ts";
import { canFoldOnGpu, foldOnGpu } from "./fold-on-gpu.ts";
import { openGlance } from "./glance-at-block.ts";
import { runBlocks } from "./run-blocks.ts";
import { goneRewriting, leaveRewriting, passOriginal, seenByRewriters } from "../passes/run-original.ts";
import { runSamples } from "../passes/run-samples.ts";

/** The layer's weights are then what the modifiers made of them. */
export async function rewrite(work: LayerAtWork): Promise<void> {
  const { layer, services, rewritten, schedule } = work;
  const last = layer.rewritings.findLast(({ mappings }) => mappings.length > 0);
  for (const [index, rewriting] of layer.rewritings.entries()) {
    const passes = schedule.rewrites[index] ?? [];
    if (rewriting.mappings.length === 0) continue;
    using channels = await openInputChannels(services.gpu, rewriting.captures);
    const done = await findFactors(work, rewriting, runOf(work, rewriting, passes, channels));
    await fold(
      work,
      done.flatMap(({ folds }) => folds),
      rewriting === last,
    );
    rewritten.push(...done.map(({ report }) => report));
  }
  if (!work.isLast && leavesApart(layer, schedule.rewrites)) await passOriginal(work);
}

async function findFactors(
  work: LayerAtWork,
  { modifier }: LayerRewriting,
  run: RewriterRun,
): Promise<Rewritten[]> {
  await stayOnGpu(work);
  return await rewriterFor(modifier).rewrite(run);
}

async function fold(work: LayerAtWork, folds: readonly Fold[], last: boolean): Promise<void> {
  if (canFoldOnGpu(work, folds)) {
    await foldOnGpu(work, folds);
    return;
  }
  leaveGpu(work);
  await work.folded.add(folds, last);
}

function runOf(
  work: LayerAtWork,
  rewriting: LayerRewriting,
  passes: readonly RewritePass[],
  channels: InputChannels,
): RewriterRun {
  const { layer, host, services, collections } = work;
  const { gpu, uploads, readbacks } = services;
  const share = 1 / collections / rewriting.mappings.length;
  const collecting = passes.filter(({ runsBlocks }) => !runsBlocks);
  return {
    ...demandOf(layer, rewriting),
    gpu,
    uploads,
    readbacks,
    freeBytes: Math.min(...collecting.map(({ freeBytes }) => freeBytes)),
    async eachPass(use, glance = null) {
      for (const [index, pass] of collecting.entries()) {
        await collectPass(
          work,
          rewriting,
          { ...pass, first: index === 0 ? { channels, glance } : null },
          use,
        );
      }
    },
    runBlocks: async (variants) => await runBlocks(work, passes, variants),
    channels: async (mapping) => await readChannels(work, rewriting, channels, mapping),
    weight: (linear, firstRow = 0, rows = linear.rows - firstRow) => ({
      dtype: layer.dtypeOf(linear.source.tensor),
      bytes: linearRows(host, linear, firstRow, rows),
    }),
    async load(linear, firstRow, rows, to) {
      const { weights } = work.staying;
      if (weights) await weights.copyRows(linear.module, firstRow, rows, to);
      else await uploads.write(linearRows(host, linear, firstRow, rows), to);
    },
    dtypeOf: (tensor) => layer.dtypeOf(tensor),
    checkpoint: async () => await services.checkpoint(),
    begins: ({ smooth }) => services.report("calibrating", `scales of ${smooth}`, share),
  };
}

interface CollectingPass extends RewritePass {
  /** What the first run of the samples does beside: it looks at the channels of all inputs, and maybe glances at a block. */
  readonly first: { readonly channels: InputChannels; readonly glance: Glance | null } | null;
}

/** Runs the samples for the Hessians of a pass. */
async function collectPass(
  work: LayerAtWork,
  rewriting: LayerRewriting,
  pass: CollectingPass,
  use: (pass: RewriterPass) => Promise<void>,
): Promise<void> {
  const { gpu, samples } = work.services;
  const { captures, first } = pass;
  const maxPanelBytes = gpu.device.limits.maxStorageBufferBindingSize;
  using hessians = await openHessians(gpu, captures, samples, maxPanelBytes);
  const collectors: Collector[] = first ? [first.channels, hessians] : [hessians];
  const glanced = await collect(work, rewriting, pass, collectors);
  await use({
    captures,
    hessian: (capture) => hessians.hessian(capture),
    tokens: (capture) => hessians.tokens(capture),
    glanced,
  });
}

/** Runs the samples; tells what a block that was glanced at has lost. */
async function collect(
  work: LayerAtWork,
  rewriting: LayerRewriting,
  { captures, residency, propagates, first }: CollectingPass,
  collectors: readonly Collector[],
): Promise<Float64Array | null> {
  const { layer, services, collections } = work;
  const wanted = first ? rewriting.captures : captures;
  const save = propagates && !work.isLast ? leaveRewriting(work) : null;
  using glance = first?.glance ? await openGlance(work, first.glance) : null;
  await runSamples(work, {
    ...seenByRewriters(work),
    needed: { linears: propagates ? layer.linears : linearsBeforeOutput(layer.description), residency },
    begin: (batch) => collectors.forEach((collector) => collector.begin?.(batch)),
    each: save ?? (async () => await services.checkpoint()),
    collect: {
      hooks: collectorHooks(collectors),
      wanted: new Set(wanted.flatMap(({ modules }) => modules)),
      experts: services.experts,
      stopAtLastInput: save === null,
    },
    ...(glance && { hooksIn: (forward) => glance.hooksIn(forward) }),
    report: (detail, done) => services.report("calibrating", detail, done / collections),
  });
  if (propagates) await goneRewriting(work);
  return glance && (await glance.read());
}

/** Experts that are calibrated on their own tokens have an input each: what they reach together is the mapping's. */
async function readChannels(
  { services }: LayerAtWork,
  { captures }: LayerRewriting,
  channels: InputChannels,
  { balance, columns }: Mapping,
): Promise<ChannelStatistics> {
  const read = new Set(balance.map(({ module }) => module));
  const low = new Float32Array(columns);
  const high = new Float32Array(columns);
  const magnitude = new Float32Array(columns);
  let tokens = 0;
  for (const capture of captures.filter(({ modules }) => modules.some((module) => read.has(module)))) {
    invariant(capture.columns === columns, "Linears that share an input have its columns");
    const seen = await channels.read(services.readbacks, capture);
    if (seen.tokens === 0) continue;
    for (let channel = 0; channel < columns; channel++) {
      const [least, most] = [seen.low[channel] ?? 0, seen.high[channel] ?? 0];
      low[channel] = tokens === 0 ? least : Math.min(low[channel] ?? 0, least);
      high[channel] = tokens === 0 ? most : Math.max(high[channel] ?? 0, most);
      magnitude[channel] = (magnitude[channel] ?? 0) + (seen.magnitude[channel] ?? 0);
    }
    tokens += seen.tokens;
  }
  return { low, high, magnitude, tokens };
}
