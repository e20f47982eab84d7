// Lets modifiers move factors between a layer's tensors before its codes are chosen. Each collects what it wants with a run of
// the samples of its own, so that what is collected later is of the weights that it leaves.

import { type InputChannels, openInputChannels } from "../../calibrate/channels/input-channels.ts";
import { collectorHooks } from "../../calibrate/collector.ts";
import { invariant } from "../../errors.ts";
import { linearsBeforeOutput } from "../../model/layer-linears.ts";
import type { Mapping } from "../../model/mappings.ts";
import { linearRows } from "../../onload/layer-weights.ts";
import type { ChannelStatistics } from "../../quantize/rewriter.ts";
import { rewriterFor } from "../../quantize/rewriters.ts";
import type { LayerRewriting } from "../calibration/calibrated-layer.ts";
import type { LayerAtWork } from "./layer-at-work.ts";
import { runSamples } from "./run-samples.ts";

/** The host's tensors then hold what the modifiers made of them. */
export async function rewrite(work: LayerAtWork): Promise<void> {
  const { layer, host, services, folded, rewritten } = work;
  for (const rewriting of layer.rewritings) {
    const { modifier, mappings } = rewriting;
    if (mappings.length === 0) continue;
    using channels = await openInputChannels(services.gpu, rewriting.captures);
    await collect(work, rewriting, channels);
    const done = await rewriterFor(modifier).rewrite({
      modifier,
      mappings,
      channels: async (mapping) => await readChannels(work, rewriting, channels, mapping),
      weight: (linear) => ({
        dtype: layer.dtypeOf(linear.source.tensor),
        bytes: linearRows(host, linear, 0, linear.rows),
      }),
      dtypeOf: (tensor) => layer.dtypeOf(tensor),
      checkpoint: async () => await services.checkpoint(),
    });
    folded.add(done.flatMap(({ folds }) => folds));
    rewritten.push(...done.map(({ report }) => report));
  }
}

async function collect(
  work: LayerAtWork,
  { captures }: LayerRewriting,
  channels: InputChannels,
): Promise<void> {
  const { layer, services, schedule, collections } = work;
  await runSamples(work, {
    needed: {
      linears: linearsBeforeOutput(layer.description),
      residency: schedule.residency.propagate,
    },
    each: async () => await services.checkpoint(),
    collect: {
      hooks: collectorHooks([channels]),
      wanted: new Set(captures.flatMap(({ modules }) => modules)),
      experts: services.experts,
      stopAtLastInput: true,
    },
    report: (detail, done) => services.report("calibrating", detail, done / collections),
  });
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
