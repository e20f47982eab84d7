// GPTQ of the modules whose Hessians a pass collected. Where the budget leaves room, the layer's weights stay on the GPU:
// they are quantized there, replaced there by what their codes mean, and codes are read back while the next module is
// computed. Else each module comes from host memory and goes back to it before the next one begins.

import type { Hessians } from "../../calibrate/hessians.ts";
import { invariant } from "../../errors.ts";
import { allocateCholeskyScratch } from "../../gpu/triangular/cholesky.ts";
import { type Capture, mlpLinears } from "../../model/layer-linears.ts";
import { type HostLayer, linearRows, type OnloadedLayer } from "../../onload/layer-weights.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import {
  type FactoredHessian,
  factorHessian,
  readHessianDiagonal,
} from "../../quantize/gptq/factor-hessian.ts";
import {
  allocateGptqWorkspace,
  type GptqWorkspace,
  type ModuleReport,
  type ModuleWeights,
  quantizeModule,
  type TiledTask,
} from "../../quantize/gptq/quantize-module.ts";
import type { LayerPasses } from "../calibration/fit-calibration.ts";
import type { CalibratedLayer } from "../calibration/calibrated-layer.ts";
import type { SequentialServices } from "./services.ts";

export interface TimedReport extends ModuleReport {
  /** Tokens that the module saw. */
  readonly tokens: number;
  /** True if too few tokens were seen for GPTQ. */
  readonly rounded: boolean;
  /** Since the module before it was done; the first of those that share a Hessian has the factorisation in it. */
  readonly seconds: number;
}

export interface CaptureData {
  readonly layer: CalibratedLayer;
  readonly passes: LayerPasses;
  readonly host: HostLayer;
  /** The layer's weights, if they stay on the GPU. */
  readonly kept: OnloadedLayer | null;
  readonly hessians: Hessians;
  /** What codes mean, by module, as long as passes to come need the original weights in host memory; else null. */
  readonly meanings: Map<string, Uint8Array<ArrayBuffer>> | null;
}

/** Quantizes the modules of a pass; resolves when their codes are written. */
export async function quantizeCaptures(
  services: SequentialServices,
  data: CaptureData,
  pass: readonly Capture[],
): Promise<TimedReport[]> {
  const { gpu } = services;
  const shared = pass.flatMap((capture) => tiledTasks(data, capture));
  using workspace = data.kept && shared.length > 0 ? await allocateGptqWorkspace(gpu, shared, 2) : null;
  const secondsSince = createLaps();
  const statistics = await readStatistics(services, data, pass);
  const reports: Promise<TimedReport>[] = [];
  try {
    for (const capture of pass) {
      const { factored, ...known } = await factorCapture(services, data, capture, statistics.get(capture));
      for (const tiled of tiledTasks(data, capture)) {
        services.report("quantizing", tiled.task.module, 1 / data.layer.tasks.length);
        const { report } = await quantizeTask(services, data, tiled, factored, workspace);
        const timed = report.then((own) => ({ ...own, ...known, seconds: secondsSince() }));
        // It is waited for below; until then a failure must not count as unhandled.
        timed.catch(() => undefined);
        reports.push(timed);
      }
      // A buffer must not be given back before the commands that use it are submitted.
      await gpu.queue.flush();
      data.hessians.release(capture);
    }
    return await Promise.all(reports);
  } finally {
    await Promise.allSettled(reports);
  }
}

function tiledTasks(
  { layer, passes }: CaptureData,
  { modules }: Capture,
): (TiledTask & { readonly task: QuantizeTask })[] {
  return layer.tasks
    .filter(({ module }) => modules.includes(module))
    .map((task) => ({ task, tileRows: passes.tileRows.get(task.module) ?? 1 }));
}

/** Seconds since the call before. */
function createLaps(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
}

/** What the host needs of a Hessian before it is factored. */
interface CaptureStatistics {
  readonly diagonal: Float32Array;
  readonly tokens: number;
  /** Too few tokens were seen: its modules are rounded to nearest. */
  readonly rounded: boolean;
}

/** All at once: later on, a reading would wait for the modules before it. */
async function readStatistics(
  services: SequentialServices,
  { layer, hessians }: CaptureData,
  pass: readonly Capture[],
): Promise<Map<Capture, CaptureStatistics>> {
  const { gpu, readbacks } = services;
  const statistics = new Map<Capture, CaptureStatistics>();
  const columns = Math.max(0, ...pass.map((capture) => capture.columns));
  using vector = await gpu.memory.allocate({ label: "diagonals", bytes: columns * 4 });
  for (const capture of pass) {
    const tokens = hessians.tokens(capture);
    const rounded = tokens < services.minExpertTokens && isRouted(services, layer, capture);
    if (rounded) await hessians.clear(capture);
    const diagonal = await readHessianDiagonal(gpu, hessians.of(capture), { vector, readbacks });
    statistics.set(capture, { diagonal, tokens, rounded });
  }
  return statistics;
}

interface FactoredCapture {
  readonly factored: FactoredHessian;
  readonly tokens: number;
  readonly rounded: boolean;
  /** Zero for modules that are rounded to nearest. */
  readonly loss?: number;
  readonly rtnLoss?: number;
}

/** Factors a capture's Hessian, or that of rounding to nearest where too few tokens were seen. */
async function factorCapture(
  services: SequentialServices,
  { layer, passes, hessians }: CaptureData,
  capture: Capture,
  statistics: CaptureStatistics | undefined,
): Promise<FactoredCapture> {
  invariant(statistics, "each capture of the pass has statistics");
  const { diagonal, tokens, rounded } = statistics;
  const { gpu, uploads, readbacks } = services;
  const tasks = layer.tasks.filter(({ module }) => capture.modules.includes(module));
  using cholesky = await allocateCholeskyScratch(gpu, capture.columns);
  using vector = await gpu.memory.allocate({ label: "diagonal", bytes: capture.columns * 4 });
  const scratch = { cholesky, vector, uploads, readbacks };
  const byActivation = tasks.some(({ weights }) => weights.actorder !== null);
  const name =
    capture.modules.length > 1 ? `the input of ${capture.modules.join(", ")}` : `${capture.modules[0]}`;
  const backup = passes.backupOnGpu ? "gpu" : "host";
  const dampeningFrac = Math.max(...tasks.map(({ gptq }) => gptq?.dampening_frac ?? 0));
  const options = { diagonal, byActivation, dampeningFrac, name, backup } as const;
  const factored = await factorHessian(gpu, hessians.of(capture), options, scratch);
  if (!rounded) return { factored, tokens, rounded };
  // A Hessian of zeros is factored as the identity: no column makes up for another's error, and none is dead.
  return {
    factored: { ...factored, dead: new Uint8Array(capture.columns) },
    tokens,
    rounded,
    loss: 0,
    rtnLoss: 0,
  };
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

/** Records a module's kernels. Without the pass's workspace it has one of its own, and is done on return. */
async function quantizeTask(
  services: SequentialServices,
  data: CaptureData,
  tiled: TiledTask,
  factored: FactoredHessian,
  shared: GptqWorkspace | null,
): Promise<{ readonly report: Promise<ModuleReport> }> {
  const { gpu, uploads, readbacks } = services;
  const { module } = tiled.task;
  using own = shared ? null : await allocateGptqWorkspace(gpu, [tiled], 1);
  const workspace = shared ?? own;
  invariant(workspace, "a workspace of the pass or of the module");
  const quantizing = await quantizeModule(tiled, factored, workspace, {
    gpu,
    uploads,
    readbacks,
    weights: data.kept ? keptWeights(services, data.kept, module) : hostWeights(services, data, module),
    write: (tensor, offset, bytes) => services.write(tensor, offset, bytes),
    checkpoint: async () => await services.checkpoint(),
  });
  if (own) await quantizing.report;
  return quantizing;
}

/** A module's weights on the GPU, which become what its codes mean. */
function keptWeights(
  { propagateError }: SequentialServices,
  kept: OnloadedLayer,
  module: string,
): ModuleWeights {
  return {
    async load(firstRow, rows, to) {
      await kept.copyRows(module, firstRow, rows, to);
    },
    async store(firstRow, rows, from) {
      if (propagateError) await kept.replaceRows(module, firstRow, rows, from);
    },
  };
}

/** A module's weights in host memory; what its codes mean takes their place, or waits beside them. */
function hostWeights(
  { uploads, readbacks, propagateError }: SequentialServices,
  { layer, host, meanings }: CaptureData,
  module: string,
): ModuleWeights {
  const linear = layer.linears.find((each) => each.module === module);
  invariant(linear, `${module} is a Linear of its layer`);
  const weight = linearRows(host, linear, 0, linear.rows);
  const meaning = meanings ? new Uint8Array(weight.byteLength) : weight;
  meanings?.set(module, meaning);
  const rowBytes = weight.byteLength / linear.rows;
  return {
    async load(firstRow, rows, to) {
      await uploads.write(linearRows(host, linear, firstRow, rows), to);
    },
    async store(firstRow, rows, from) {
      if (!propagateError) return;
      await readbacks.read(from, 0, rows * rowBytes, (view, position) => {
        meaning.set(view, firstRow * rowBytes + position);
      });
    },
  };
}
