// One decoder layer of a calibrated job, as LLM Compressor's sequential pipeline does it: run all samples through the
// original weights and collect Hessians; quantize; run all samples again through what the codes mean, so that the next
// layer sees the error of this one.

import type { SequenceBatch } from "../calibrate/batches.ts";
import { forwardLayer } from "../calibrate/forward/forward-layer.ts";
import type { ForwardPass } from "../calibrate/forward/forward-pass.ts";
import type { ForwardHooks } from "../calibrate/forward/layer-weights.ts";
import type { TokenBatch } from "../calibrate/forward/token-batch.ts";
import type { Workspace } from "../calibrate/forward/workspace.ts";
import { type ActivationRanges, openActivationRanges } from "../calibrate/ranges/activation-ranges.ts";
import { type Hessians, openHessians } from "../calibrate/hessians.ts";
import type { HiddenStates } from "../calibrate/hidden-states.ts";
import { invariant } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import type { ReadbackRing, UploadRing } from "../gpu/staging.ts";
import { allocateCholeskyScratch } from "../gpu/triangular/cholesky.ts";
import { type Capture, type ExpertCalibration, mlpLinears } from "../model/layer-linears.ts";
import { type HostLayer, linearRows, onloadLayer } from "../onload/layer-weights.ts";
import type { Residency } from "../onload/residency.ts";
import { factorHessian } from "../quantize/gptq/factor-hessian.ts";
import {
  allocateGptqWorkspace,
  quantizeModule,
  type ModuleReport,
  type ModuleWeights,
} from "../quantize/gptq/quantize-module.ts";
import type { GptqTask } from "../quantize/gptq/quantize-tile.ts";
import type { CalibratedLayer } from "./calibration-memory.ts";
import type { CalibrationPlan, LayerPasses } from "./plan-calibration.ts";
import { cacheNames, inputName, writeStaticScales } from "./static-scales.ts";

/** What lives through all layers. */
export interface SequentialServices {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  readonly plan: CalibrationPlan;
  readonly workspace: Workspace;
  readonly batches: readonly { readonly rows: SequenceBatch; readonly tokens: TokenBatch }[];
  /** (max tokens, hidden) float32: the batch at work. */
  readonly hidden: LedgerBuffer;
  readonly states: HiddenStates;
  readonly samples: number;
  /** False leaves the host's weights as they were, so that later layers never see what this one became. */
  readonly propagateError: boolean;
  readonly experts: ExpertCalibration;
  /** Experts that fewer tokens are routed to are rounded to nearest. */
  readonly minExpertTokens: number;
  readonly write: (tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>) => void;
  checkpoint(): Promise<void>;
  /** Tells what goes on, and which part of the layer's work is done. */
  report(phase: "calibrating" | "quantizing" | "propagating", detail: string, share: number): void;
}

export interface TimedReport extends ModuleReport {
  /** Tokens that the module saw. */
  readonly tokens: number;
  readonly seconds: number;
}

/** Calibrates and quantizes a layer; `host` then holds what the codes mean. Returns a report for each module. */
export async function quantizeLayer(
  services: SequentialServices,
  layer: CalibratedLayer,
  passes: LayerPasses,
  host: HostLayer,
): Promise<TimedReport[]> {
  const reports: TimedReport[] = [];
  // Later passes must see the original weights: what the codes mean waits beside them until the last pass is done.
  const meanings = new Map<string, Uint8Array<ArrayBuffer>>();
  const observed = [...new Set(layer.scales.map((scale) => scale.observed))];
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
    const onload = { layer, host, residency: each[index] ?? alone };
    await calibrate(services, onload, statistics, 1 / all.length);
    for (const capture of pass) {
      reports.push(
        ...(await quantizeCapture(services, layer, passes, { host, hessians, meanings }, capture)),
      );
      hessians.release(capture);
    }
  }
  await writeStaticScales(layer.scales, ranges, services.readbacks, services.write);
  if (!services.propagateError) return reports;
  for (const linear of layer.linears) {
    const meaning = meanings.get(linear.module);
    if (meaning) linearRows(host, linear, 0, linear.rows).set(meaning);
  }
  return reports;
}

/** What a pass over the samples collects. */
interface Statistics {
  readonly hessians: Hessians;
  readonly ranges: ActivationRanges | null;
  /** Modules whose inputs are wanted. */
  readonly wanted: ReadonlySet<string>;
}

/** A layer's weights, and how they lie on the GPU while samples run through it. */
interface Onload {
  readonly layer: CalibratedLayer;
  readonly host: HostLayer;
  readonly residency: Residency;
}

async function calibrate(
  services: SequentialServices,
  onload: Onload,
  { hessians, ranges, wanted }: Statistics,
  share: number,
): Promise<void> {
  const hooks: ForwardHooks = {
    async onInput(modules, input) {
      await hessians.accumulate(modules, input);
      await ranges?.observe(inputName(modules), input);
    },
    async onKeyValue(module, keys, values) {
      const names = cacheNames(module);
      await ranges?.observe(names.k, keys);
      await ranges?.observe(names.v, values);
    },
  };
  await runSamples(services, onload, {
    begin: (batch) => ranges?.begin(batch),
    each: async () => await services.checkpoint(),
    collect: { hooks, wanted, experts: services.experts, stopAtLastInput: true },
    report: (detail, done) => services.report("calibrating", detail, done * share),
  });
}

/** Runs all samples through the layer's present weights and keeps the outputs as the next layer's inputs, with `toFile` for after a crash too. */
export async function propagate(
  services: SequentialServices,
  layer: CalibratedLayer,
  { residency }: LayerPasses,
  host: HostLayer,
  toFile: boolean,
): Promise<void> {
  await runSamples(
    services,
    { layer, host, residency: residency.propagate },
    {
      each: async (batch) => {
        await services.states.save(batch, services.hidden, toFile);
        await services.checkpoint();
      },
      report: (detail, done) => services.report("propagating", detail, done),
    },
  );
}

async function runSamples(
  services: SequentialServices,
  { layer, host, residency }: Onload,
  options: {
    readonly begin?: (batch: SequenceBatch) => void;
    readonly each: (batch: SequenceBatch) => Promise<void>;
    readonly collect?: Pick<ForwardPass, "hooks" | "wanted" | "experts" | "stopAtLastInput">;
    readonly report: (detail: string, done: number) => void;
  },
): Promise<void> {
  const { gpu, uploads, workspace, batches, hidden, states } = services;
  const parts = { linears: layer.linears, vectors: layer.vectors.map(({ name }) => name) };
  using weights = await onloadLayer(gpu, uploads, host, parts, residency);
  for (const [index, { rows, tokens }] of batches.entries()) {
    options.report(`batch ${index + 1} of ${batches.length}`, 1 / batches.length);
    options.begin?.(rows);
    await states.load(rows, hidden);
    const pass = { gpu, weights, workspace, batch: tokens, ...options.collect };
    await forwardLayer(pass, layer.description, hidden);
    await options.each(rows);
  }
  await gpu.queue.idle();
}

interface LayerData {
  readonly host: HostLayer;
  readonly hessians: Hessians;
  readonly meanings: Map<string, Uint8Array<ArrayBuffer>>;
}

/** Factors a capture's Hessian, or that of rounding to nearest, and quantizes the modules that share it. */
async function quantizeCapture(
  services: SequentialServices,
  layer: CalibratedLayer,
  passes: LayerPasses,
  data: LayerData,
  capture: Capture,
): Promise<TimedReport[]> {
  const { gpu, uploads, readbacks } = services;
  const tasks = layer.tasks.filter(({ module }) => capture.modules.includes(module));
  using cholesky = await allocateCholeskyScratch(gpu, capture.columns);
  using vector = await gpu.memory.allocate({ label: "diagonal", bytes: capture.columns * 4 });
  const scratch = { cholesky, vector, uploads, readbacks };
  const started = performance.now();
  const byActivation = tasks.some(({ weights }) => weights.actorder !== null);
  const name =
    capture.modules.length > 1 ? `the input of ${capture.modules.join(", ")}` : `${capture.modules[0]}`;
  const backup = passes.backupOnGpu ? "gpu" : "host";
  const dampeningFrac = Math.max(...tasks.map(({ gptq }) => gptq?.dampening_frac ?? 0));
  const options = { byActivation, dampeningFrac, name, backup } as const;
  const tokens = data.hessians.tokens(capture);
  const rounded = tokens < services.minExpertTokens && isRouted(services, layer, capture);
  if (rounded) await data.hessians.clear(capture);
  const found = await factorHessian(gpu, data.hessians.of(capture), options, scratch);
  // A Hessian of zeros is factored as the identity: no column makes up for another's error, and none is dead.
  const factored = rounded ? { ...found, dead: new Uint8Array(capture.columns) } : found;
  const factorSeconds = (performance.now() - started) / 1000 / tasks.length;
  const reports: TimedReport[] = [];
  for (const task of tasks) {
    services.report("quantizing", task.module, 1 / layer.tasks.length);
    const begun = performance.now();
    const tiled = { task, tileRows: passes.tileRows.get(task.module) ?? 1 };
    using workspace = await allocateGptqWorkspace(gpu, [tiled], 1);
    const module = await quantizeModule(tiled, factored, workspace, {
      gpu,
      uploads,
      readbacks,
      weights: hostWeights(services, layer, task, data),
      write: (tensor, offset, bytes) => services.write(tensor, offset, bytes),
      checkpoint: async () => await services.checkpoint(),
    });
    const report = await module.report;
    const seconds = factorSeconds + (performance.now() - begun) / 1000;
    reports.push({ ...report, ...(rounded ? { loss: 0, rtnLoss: 0 } : {}), tokens, seconds });
  }
  return reports;
}

/** True for experts that are calibrated on their own tokens, of which there may be few. */
function isRouted({ experts }: SequentialServices, layer: CalibratedLayer, { modules }: Capture): boolean {
  const { feedForward } = layer.description;
  return (
    experts === "routed" &&
    feedForward.kind === "experts" &&
    feedForward.experts.flatMap(mlpLinears).some(({ module }) => module === modules[0])
  );
}

/** A module's weights in host memory; what its codes mean waits beside them. */
function hostWeights(
  { uploads, readbacks }: SequentialServices,
  layer: CalibratedLayer,
  task: GptqTask,
  { host, meanings }: LayerData,
): ModuleWeights {
  const linear = layer.linears.find(({ module }) => module === task.module);
  invariant(linear, `${task.module} is a Linear of its layer`);
  const meaning = new Uint8Array(linearRows(host, linear, 0, linear.rows).byteLength);
  meanings.set(task.module, meaning);
  const rowBytes = meaning.byteLength / linear.rows;
  return {
    async load(firstRow, rows, to) {
      await uploads.write(linearRows(host, linear, firstRow, rows), to);
    },
    async store(firstRow, rows, from) {
      await readbacks.read(from, 0, rows * rowBytes, (view, position) => {
        meaning.set(view, firstRow * rowBytes + position);
      });
    },
  };
}
