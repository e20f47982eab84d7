// One decoder layer of a calibrated job, as LLM Compressor's sequential pipeline does it: run all samples through the
// original weights and collect Hessians; quantize; run all samples again through what the codes mean, so that the next
// layer sees the error of this one.

import { quantizeStep } from "../data-free/quantize-set.ts";
import type { SequenceBatch } from "../../calibrate/batches.ts";
import { forwardLayer } from "../../calibrate/forward/forward-layer.ts";
import type { ForwardPass } from "../../calibrate/forward/forward-pass.ts";
import type { ForwardHooks } from "../../calibrate/forward/layer-weights.ts";
import { type ActivationRanges, openActivationRanges } from "../../calibrate/ranges/activation-ranges.ts";
import { type Hessians, openHessians } from "../../calibrate/hessians.ts";
import { invariant } from "../../errors.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import type { Linear } from "../../model/decoder-description.ts";
import { linearsBeforeOutput } from "../../model/layer-linears.ts";
import { type HostLayer, linearRows, type OnloadedLayer, onloadLayer } from "../../onload/layer-weights.ts";
import type { Residency } from "../../onload/residency.ts";
import { eachBatch } from "./each-batch.ts";
import type { LayerPasses } from "../calibration/fit-calibration.ts";
import { quantizeCaptures, type TimedReport } from "./quantize-captures.ts";
import { cacheNames, inputName } from "../calibration/static-scales.ts";
import type { CalibratedLayer } from "../calibration/calibrated-layer.ts";
import type { SequentialServices, LayerServices } from "./services.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { CalibrationJob } from "../calibration/plan-calibrated-layers.ts";
import { copyTensors, writeShape } from "../job/copy-tensors.ts";
import { type HostLayers, hostTraffic } from "./host-layers.ts";
import type { SnapshotClock } from "./snapshot-clock.ts";
import type { StepTraffic } from "../job/step-traffic.ts";
import { observeCache, writeStaticScales } from "./measure-scales.ts";

/** A decoder layer at work. */
export interface LayerAtWork extends Disposable {
  readonly layer: CalibratedLayer;
  readonly passes: LayerPasses;
  readonly host: HostLayer;
  /** Its weights, if they stay on the GPU from the first pass over the samples to the last. */
  readonly kept: OnloadedLayer | null;
}

/** Puts a layer's weights on the GPU if the plan keeps them there. */
export async function openLayer(
  services: SequentialServices,
  layer: CalibratedLayer,
  passes: LayerPasses,
  host: HostLayer,
): Promise<LayerAtWork> {
  const { propagate: residency } = passes.residency;
  const kept = passes.overlap
    ? await onload(services, layer, host, { linears: layer.linears, residency })
    : null;
  return { layer, passes, host, kept, [Symbol.dispose]: () => kept?.[Symbol.dispose]() };
}

/** Which of a layer's weights a pass over the samples needs, and how they lie on the GPU. */
interface Onload {
  readonly linears: readonly Linear[];
  readonly residency: Residency;
}

async function onload(
  { gpu, uploads }: SequentialServices,
  { vectors }: CalibratedLayer,
  host: HostLayer,
  { linears, residency }: Onload,
): Promise<OnloadedLayer> {
  const parts = { linears, vectors: vectors.map(({ name }) => name) };
  return await onloadLayer(gpu, uploads, host, parts, residency);
}

/** Calibrates and quantizes a layer, which then holds what the codes mean. Returns a report for each module. */
export async function quantizeLayer(services: SequentialServices, work: LayerAtWork): Promise<TimedReport[]> {
  const { layer, passes, host, kept } = work;
  const reports: TimedReport[] = [];
  // Later passes must see the original weights: what the codes mean waits beside them until the last pass is done.
  const meanings = new Map<string, Uint8Array<ArrayBuffer>>();
  const observed = [...new Set(layer.scales.flatMap((scale) => scale.observed))];
  using ranges = await openActivationRanges(services.gpu, observed, services.samples);
  // Ranges are taken in the first pass, which is made for them alone if no Hessian is wanted.
  const all = passes.passes.length === 0 && observed.length > 0 ? [[]] : passes.passes;
  for (const [index, pass] of all.entries()) {
    using hessians = await openHessians(
      services.gpu,
      pass,
      services.samples,
      services.gpu.device.limits.maxStorageBufferBindingSize,
    );
    const scales = index === 0 ? layer.scales : [];
    const statistics = {
      hessians,
      ranges: index === 0 ? ranges : null,
      wanted: new Set([...pass.flatMap(({ modules }) => modules), ...scales.map(({ reached }) => reached)]),
    };
    const { calibrate: each, propagate: alone } = passes.residency;
    await calibrate(services, work, each[index] ?? alone, { ...statistics, share: 1 / all.length });
    const isLast = index === all.length - 1;
    const data = { layer, passes, host, kept, hessians, meanings: isLast ? null : meanings };
    reports.push(...(await quantizeCaptures(services, data, pass)));
  }
  await writeStaticScales(layer.scales, ranges, services.readbacks, services.write);
  for (const linear of layer.linears) {
    const meaning = meanings.get(linear.module);
    if (meaning && services.propagateError) linearRows(host, linear, 0, linear.rows).set(meaning);
  }
  return reports;
}

/** What a pass over the samples collects. */
interface Statistics {
  readonly hessians: Hessians;
  readonly ranges: ActivationRanges | null;
  /** Modules whose inputs are wanted. */
  readonly wanted: ReadonlySet<string>;
  /** Part of the layer's calibration that the pass is. */
  readonly share: number;
}

async function calibrate(
  services: SequentialServices,
  work: LayerAtWork,
  residency: Residency,
  { hessians, ranges, wanted, share }: Statistics,
): Promise<void> {
  const hooks: ForwardHooks = {
    async onInput(modules, input) {
      await hessians.accumulate(modules, input);
      await ranges?.observe(inputName(modules), input);
    },
    async onKeyValue(module, keys, values) {
      if (!ranges) return;
      const names = cacheNames(module);
      const { kvHeads } = work.layer.description.attention;
      await observeCache(ranges, names.k, keys, kvHeads);
      await observeCache(ranges, names.v, values, kvHeads);
    },
  };
  const parts = { linears: linearsBeforeOutput(work.layer.description), residency };
  await runSamples(services, work, parts, {
    begin: (batch) => ranges?.begin(batch),
    each: async () => await services.checkpoint(),
    collect: { hooks, wanted, experts: services.experts, stopAtLastInput: true },
    report: (detail, done) => services.report("calibrating", detail, done * share),
  });
}

/** Runs all samples through the layer's present weights and keeps the outputs as the next layer's inputs, with `toFile` for after a crash too. */
export async function propagate(
  services: SequentialServices,
  work: LayerAtWork,
  toFile: boolean,
): Promise<void> {
  const { layer, passes } = work;
  const parts = { linears: layer.linears, residency: passes.residency.propagate };
  await runSamples(services, work, parts, {
    each: async (batch, hidden) => {
      await services.states.save(batch, hidden, toFile);
      await services.checkpoint();
    },
    report: (detail, done) => services.report("propagating", detail, done),
  });
}

async function runSamples(
  services: SequentialServices,
  { layer, host, kept }: LayerAtWork,
  parts: Onload,
  options: {
    readonly begin?: (batch: SequenceBatch) => void;
    readonly each: (batch: SequenceBatch, hidden: LedgerBuffer) => Promise<void>;
    readonly collect?: Pick<ForwardPass, "hooks" | "wanted" | "experts" | "stopAtLastInput">;
    readonly report: (detail: string, done: number) => void;
  },
): Promise<void> {
  const { gpu, workspace, batches } = services;
  using own = kept ? null : await onload(services, layer, host, parts);
  const weights = kept ?? own;
  invariant(weights, "a layer is onloaded for its samples");
  await eachBatch(services, async ({ rows, tokens }, index, hidden) => {
    options.report(`batch ${index + 1} of ${batches.length}`, 1 / batches.length);
    options.begin?.(rows);
    const pass = { gpu, weights, workspace, batch: tokens, ...options.collect };
    await forwardLayer(pass, layer.description, hidden);
    return async () => await options.each(rows, hidden);
  });
  await gpu.queue.idle();
}

/**
 * Onload, calibrate, quantize, propagate, offload. `recordable` if a crash after this layer could go on behind it; `worked`
 * are the seconds without waiting for the layer's bytes.
 */
export async function compressLayer(
  calibration: CalibrationJob,
  step: PlanStep,
  services: LayerServices,
  traffic: StepTraffic,
  { clock, hosts }: { readonly clock: SnapshotClock; readonly hosts: HostLayers },
): Promise<{ modules: TimedReport[]; recordable: boolean; worked: number }> {
  const index = calibration.layerOf.get(step.index) ?? -1;
  const layer = calibration.layers[index];
  const passes = calibration.plan.layers[index];
  invariant(layer && passes, `${step.name} is a layer of the plan`);
  const host = await hosts.take(step);
  const started = performance.now();
  for (const task of step.quantize) writeShape(task, traffic);
  if (services.tiles) await quantizeStep(services.tiles, layer.rounded, hostTraffic(step, host, traffic));
  using work = await openLayer(services, layer, passes, host);
  const modules = await quantizeLayer(services, work);
  const isLast = index === calibration.layers.length - 1;
  const recordable = isLast || clock.due();
  hosts.readAfter(step);
  // Nothing reads what comes out of the last layer.
  if (!isLast) await propagate(services, work, recordable);
  // the layer's own progress counts these bytes
  await copyTensors(step.copy, { ...traffic, finished: () => undefined });
  return { modules, recordable, worked: (performance.now() - started) / 1000 };
}
