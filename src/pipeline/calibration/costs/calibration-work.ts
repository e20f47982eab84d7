// What calibrating, quantizing and propagating a decoder layer costs in floating-point operations.

import { ofModules } from "../../../model/by-module.ts";
import {
  type Capture,
  type ExpertCalibration,
  linearsBeforeOutput,
  mlpLinears,
  mlpsOf,
} from "../../../model/layer-linears.ts";
import type { MappingBlock } from "../../../model/mappings.ts";
import { factsOf } from "../../../model/mixers/facts-of.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import { byQuantizer } from "../../../quantize/quantizers.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import { type CalibratedLayer, demandOf, sharesOf } from "../layers/calibrated-layer.ts";
import { glancedLengths } from "./glance-bytes.ts";
import type { Linear } from "../../../model/weight-description.ts";

/** One figure for each phase of a calibrated layer, in operations or in seconds. */
export interface LayerWork {
  readonly calibrating: number;
  readonly quantizing: number;
  readonly propagating: number;
}

export interface WorkDemand {
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
  readonly experts: ExpertCalibration;
  /** Passes over the samples that collect statistics and stop there. */
  readonly passes: number;
  /** Passes for modifiers that go on to the layer's output; then none is needed to propagate, if these samples see the error. */
  readonly leaving: number;
  /** False for the last layer, whose output nothing reads. */
  readonly propagates: boolean;
}

/** Operations of a norm for each value. */
const NORM_WORK = 4;

/** Floating-point operations of a layer by phase: products, mixers, Hessians, the choice of codes. */
export function layerWork(layer: CalibratedLayer, demand: WorkDemand): LayerWork {
  const { lengths, experts, passes, leaving, propagates } = demand;
  const { description, captures } = layer;
  const tokens = sum(lengths);
  const mixers = mixerWork(description, lengths) + headWork(description, tokens);
  const routed = routedShare(description);
  const forward = (linears: readonly Linear[], expertShare: number) =>
    mixers + 2 * tokens * parameters(description, linears, expertShare);
  const rewritten = layer.rewritings.map((rewriting) =>
    rewriterFor(rewriting.modifier).work(demandOf(layer, rewriting)),
  );
  const collected = [...captures, ...layer.rewritings.flatMap((rewriting) => rewriting.hessians)];
  const hessians = collected.map((capture) => {
    const share = experts === "routed" && isExpert(description, capture.modules) ? routed : 1;
    return tokens * share * capture.columns * (capture.columns + 1);
  });
  const drifts = (layer.drifting ?? []).map(({ columns }) => 2 * tokens * columns ** 2);
  // The original model's samples run beside each pass, and in the last one on to the next layer.
  const original = layer.drifting
    ? passes * forward(linearsBeforeOutput(description), 1) +
      (propagates ? forward(layer.linears, 1) - forward(linearsBeforeOutput(description), 1) : 0)
    : 0;
  const solves = captures.flatMap((capture) =>
    sharesOf(layer).map(({ tasks }) => choiceWork(capture, tasks)),
  );
  return {
    calibrating:
      passes * forward(linearsBeforeOutput(description), experts === "all" ? 1 : routed) +
      leaving * forward(layer.linears, routed) +
      sum(hessians) +
      sum(drifts) +
      original +
      sum(rewritten) +
      blockWork(layer, lengths),
    quantizing: sum(solves),
    propagating: propagates && (leaving === 0 || layer.rewritesOriginal) ? forward(layer.linears, routed) : 0,
  };
}

/** Operations of the blocks that are run again and again for modifiers. */
function blockWork(layer: CalibratedLayer, lengths: readonly number[]): number {
  const { description } = layer;
  const glanced = glancedLengths(lengths);
  const each = layer.rewritings.map((rewriting) => {
    const demand = demandOf(layer, rewriting);
    const rewriter = rewriterFor(rewriting.modifier);
    const blocks = rewriter.blocks(demand);
    const glance = rewriter.glance(demand, Infinity);
    const once = (blocks?.mappings ?? []).map(({ block }) => onceWork(description, block, lengths));
    const few = glance ? onceWork(description, glance.mapping.block, glanced) : 0;
    return ((blocks?.runs ?? 0) + 1) * sum(once) + ((glance?.count ?? 0) + 1) * few;
  });
  return sum(each);
}

/** Operations of running a block once. */
function onceWork(layer: LayerDescription, block: MappingBlock | null, lengths: readonly number[]): number {
  const weights = parameters(layer, blockLinears(layer, block), routedShare(layer));
  return 2 * sum(lengths) * weights + (block === "mixer" ? mixerWork(layer, lengths) : 0);
}

/** Linears that running a mapping's block takes. */
function blockLinears({ mixers, feedForward }: LayerDescription, block: MappingBlock | null): Linear[] {
  if (block !== "mixer") return feedForward ? mlpsOf(feedForward).flatMap(mlpLinears) : [];
  return mixers.map(factsOf).flatMap(({ inputs, output }) => [...inputs.flat(), output]);
}

/** What the quantizers of a capture's modules take to choose codes. */
function choiceWork({ modules, columns }: Capture, tasks: CalibratedLayer["tasks"]): number {
  const own = byQuantizer(ofModules(tasks, modules));
  const work = Array.from(own, ([quantizer, of]) => quantizer.work(columns, of));
  return sum(work);
}

/** Operations of the layer's mixers, their Linears left out. */
function mixerWork({ mixers }: LayerDescription, lengths: readonly number[]): number {
  return sum(mixers.map(factsOf).flatMap((facts) => lengths.map((length) => facts.work(length))));
}

/** Operations on the way to a head's input: those of its norm. Of other layers products are nearly all. */
function headWork({ head }: LayerDescription, tokens: number): number {
  return head ? NORM_WORK * tokens * head.columns : 0;
}

function parameters(layer: LayerDescription, linears: readonly Linear[], expertShare: number): number {
  const sizes = linears.map(({ module, rows, columns }) => {
    const share = isExpert(layer, [module]) ? expertShare : 1;
    return share * rows * columns;
  });
  return sum(sizes);
}

const expertsOf = new WeakMap<LayerDescription, ReadonlySet<string>>();

/** True for modules of experts that tokens are routed to; a shared expert sees every token. */
function isExpert(layer: LayerDescription, modules: readonly string[]): boolean {
  if (layer.feedForward?.kind !== "experts") return false;
  let names = expertsOf.get(layer);
  if (!names) {
    names = new Set(layer.feedForward.experts.flatMap(mlpLinears).map(({ module }) => module));
    expertsOf.set(layer, names);
  }
  return modules.some((module) => names.has(module));
}

function routedShare({ feedForward }: LayerDescription): number {
  return feedForward?.kind === "experts" ? feedForward.topK / feedForward.experts.length : 1;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
