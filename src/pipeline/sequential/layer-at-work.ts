// A decoder layer between onload and offload: its weights on the host and, where the plan keeps them, on the GPU.

import type { SequenceBatch } from "../../calibrate/batches.ts";
import { madeOf } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { HostBytes } from "../../onload/host-bytes.ts";
import { type FoldedLayer, foldLayer } from "../../onload/fold-layer.ts";
import type { HostLayer } from "../../onload/host-layer.ts";
import type { OnloadedLayer } from "../../onload/layer-weights.ts";
import type { SettlingLayer } from "../../onload/settling-layer.ts";
import type { Residency } from "../../onload/residency.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { ModuleReport } from "../../api/compressor-api.ts";
import type { MappingReport } from "../../quantize/rewriter.ts";
import {
  type CalibratedLayer,
  foldingIn,
  type LayerShare,
  waitingModules,
  wantsSamples,
} from "../calibration/layers/calibrated-layer.ts";
import { leavesApart } from "../calibration/fit/fit-rewritings.ts";
import type { BatchesAtWork, LayerSchedule } from "../calibration/fit/layer-schedule.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { TileTraffic } from "../job/traffic.ts";
import type { PlannedLayer, PlannedStep } from "../planning/planned-step.ts";
import type { HostLayers } from "./onload/host-layers.ts";
import type { SequentialServices } from "./services.ts";
import { type NeededWeights, onloadWeights } from "./onload/onload-weights.ts";
import { areGiven } from "./exchange/share-names.ts";
import type { WeightsAhead } from "./onload/weights-ahead.ts";
import type { SnapshotClock } from "./states/snapshot-clock.ts";
import type { Linear } from "../../model/weight-description.ts";

/** One run of all samples through the layer, and what is collected of it. */
export interface Pass {
  readonly index: number;
  /** Inputs of which statistics are collected. */
  readonly captures: readonly Capture[];
  /** How the weights lie on the GPU meanwhile. */
  readonly residency: Residency;
  readonly atWork: BatchesAtWork;
  /** False if nothing at all is wanted of the samples. */
  readonly collects: boolean;
  readonly isLast: boolean;
  /**
   * True if nothing of the layer is run behind it, whatever becomes of its weights: what is left of the layer then waits for the one
   * before, also that of the last layer. Jobs that share samples would wait for each other in a circle if two layers were added up at once.
   */
  readonly ends: boolean;
  /** True if samples go on from it to the next layer. */
  readonly leaves: boolean;
}

/** One of the results that a layer is quantized to. */
export interface LayerOutput {
  /** The layer in the result's own plan. */
  readonly step: PlanStep;
  readonly share: LayerShare;
  readonly write: TileTraffic["write"];
  /** What was done so far. */
  readonly reports: ModuleReport[];
  /** True if samples run through what becomes of the layer here, so that later layers see its error. */
  readonly propagates: boolean;
  /** Where what codes mean is put, by module, for who tries it; of weights on the host, which stay as they are. */
  readonly meanings?: Map<string, HostBytes>;
}

/** Which layer's turn it is. */
export interface LayerTurn {
  readonly step: PlannedStep;
  /** The one that samples run through, if there is one, comes last: the others find the weights as they were. */
  readonly outputs: readonly LayerOutput[];
  /** Its place among the decoder's layers. */
  readonly index: number;
  readonly layer: CalibratedLayer;
  readonly schedule: LayerSchedule;
  /** Nothing reads what comes out of the last layer. */
  readonly isLast: boolean;
  /** Not null of a layer that samples only run through. */
  readonly passed: PlannedLayer["passed"];
  readonly services: SequentialServices;
  /** Its tensors on the host: read while the layer before it was at work. */
  readonly host: HostLayer;
  readonly hosts: HostLayers;
  readonly ahead: WeightsAhead;
  readonly clock: SnapshotClock;
  /** Told when samples are in front of the next layer; resolves when what is left of this one may be done. */
  readonly gone: () => Promise<void>;
}

/** Takes a batch's hidden states behind the layer; `free` may be told when other commands may write to them. */
export type TakeStates = (batch: SequenceBatch, hidden: LedgerBuffer, free: () => void) => Promise<void>;

/** Samples on their way to the next layer. */
export interface LeftLayer {
  readonly recordable: LayerAtWork["recordable"];
  /** Takes a batch's hidden states to the next layer. */
  readonly save: TakeStates;
}

export interface LayerAtWork extends LayerTurn, Disposable {
  /** Its weights, if they stay on the GPU from the first pass over the samples to the last. */
  readonly kept: OnloadedLayer | null;
  /** Its weights while they stay on the GPU for a modifier that looks for factors; longer where these go into them there. */
  readonly staying: { weights: OnloadedLayer | null };
  /** Its weights, if they come to the GPU to be quantized and stay there; null until the first one does. */
  readonly settling: { layer: SettlingLayer | null };
  /** The host's tensors with the factors that modifiers fold into them. */
  readonly folded: FoldedLayer;
  readonly passes: readonly Pass[];
  /** Runs of the samples that collect something, and searches for scales, which take about as long. */
  readonly collections: number;
  /** What modifiers moved between tensors. */
  readonly rewritten: MappingReport[];
  /** Weights on their way to being rounded, which samples may run through meanwhile. */
  readonly rounding: Promise<void>[];
  /** Its modules on their way to other jobs. */
  readonly giving: Promise<void>[];
  /** Null until samples begin to leave the layer. */
  readonly left: { behind: LeftLayer | null };
  /** True if a crash behind this layer could go on from there; decided when the first batch leaves. */
  readonly recordable: () => boolean;
  /** Modules whose original weights passes to come compute with, and what their codes mean until then. */
  readonly waiting: ReadonlySet<string>;
  readonly dequantized: Map<string, HostBytes>;
}

/** Puts a layer on the GPU if the plan keeps it there; else its weights come with each run of the samples. */
export async function onload(turn: LayerTurn): Promise<LayerAtWork> {
  const { layer, schedule } = turn;
  const { propagate: residency } = schedule.residency;
  const wanted = { linears: layer.linears, residency };
  const kept = schedule.overlap ? await turn.ahead.onload(turn, wanted) : null;
  return await madeOf(async (parts) => {
    if (kept) parts.use(kept);
    return await begin(turn, kept);
  });
}

/** A layer at work, whose weights lie on the GPU if they are kept there. */
async function begin(turn: LayerTurn, kept: OnloadedLayer | null): Promise<LayerAtWork> {
  const { services, layer, schedule, host } = turn;
  const waiting = waitingModules(layer, schedule.passes);
  // Else what is kept of this layer until its last pass, or its original weights, are in host memory as well.
  if (waiting.size === 0 && foldingIn(layer).length <= 1) turn.hosts.readAfter(turn.step);
  turn.ahead.bringAfter(turn.step);
  const settling: LayerAtWork["settling"] = { layer: null };
  const staying: LayerAtWork["staying"] = { weights: null };
  const passes = (await areGiven(services.share, turn.index, layer.tasks.length)) ? [] : passesOf(turn);
  return {
    ...turn,
    kept,
    staying,
    settling,
    folded: foldLayer(host, services),
    passes,
    collections:
      passes.filter(({ collects }) => collects).length +
      schedule.rewrites.flat().length +
      (!turn.isLast && leavesApart(layer, schedule.rewrites) ? 1 : 0) +
      layer.rewritings.filter(({ hessians }) => hessians.length > 0).length,
    rewritten: [],
    rounding: [],
    giving: [],
    left: { behind: null },
    recordable: decideOnce(turn),
    waiting,
    dequantized: new Map(),
    [Symbol.dispose]() {
      kept?.[Symbol.dispose]();
      leaveGpu({ staying });
      settling.layer?.[Symbol.dispose]();
    },
  };
}

function decideOnce({ isLast, clock, index }: LayerTurn): () => boolean {
  let decided: boolean | null = null;
  return () => {
    decided ??= isLast || clock.due(index + 1);
    return decided;
  };
}

/** At least one pass: ranges and squares take one of their own where no Hessians are wanted. */
export function passesOf({
  layer,
  schedule,
  isLast,
}: Pick<LayerTurn, "layer" | "schedule" | "isLast">): Pass[] {
  const { passes, residency, atWork } = schedule;
  const groups = passes.length === 0 ? [[]] : passes;
  const mayEnd = schedule.leaves || layer.description.head !== undefined;
  const ends = (index: number) => mayEnd && index === groups.length - 1;
  return groups.map((captures, index) => ({
    index,
    captures,
    residency: residency.calibrate[index] ?? residency.propagate,
    atWork: atWork.calibrate[index] ?? 1,
    collects: wantsSamples(layer) || layer.drifting !== null,
    isLast: index === groups.length - 1,
    ends: ends(index),
    leaves: ends(index) && !isLast,
  }));
}

/** The weights for a run of samples: those that are kept, or a copy of the run's own, which goes with it. */
export async function weightsFor(
  work: LayerAtWork,
  needed: NeededWeights,
): Promise<{ readonly weights: OnloadedLayer; readonly isOwn: boolean } & Disposable> {
  const { kept, staying, settling } = work;
  const lasting = kept ?? staying.weights ?? settling.layer;
  if (!kept && settling.layer) await settleAll(settling.layer, needed.linears);
  const own = lasting ? null : await work.ahead.onload(work, needed);
  const weights = lasting ?? own;
  invariant(weights, "a layer is onloaded for its samples");
  return { weights, isOwn: own !== null, [Symbol.dispose]: () => own?.[Symbol.dispose]() };
}

/** Puts a layer's weights on the GPU until `leaveGpu`, where the plan has them stay while a modifier looks for factors. */
export async function stayOnGpu({ services, layer, host, schedule, staying }: LayerAtWork): Promise<void> {
  if (!schedule.staysRewriting) return;
  const residency = schedule.residency.propagate;
  staying.weights = await onloadWeights(services, layer, host, { linears: layer.linears, residency });
}

/** Gives back what stays, once the commands that use it are submitted. */
export function leaveGpu({ staying }: Pick<LayerAtWork, "staying">): void {
  staying.weights?.[Symbol.dispose]();
  staying.weights = null;
}

/** Those that did not settle while they were quantized come last. */
async function settleAll(settling: SettlingLayer, linears: readonly Linear[]): Promise<void> {
  const modules = linears.map(({ module }) => module);
  settling.bring(modules);
  for (const module of modules) await settling.settled(module);
}
