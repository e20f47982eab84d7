// Lets each quantizer of the recipe choose the codes of its modules, from what a pass has collected. The layer then holds
// what the codes mean; of those that are rounded to nearest it keeps the original weights, as LLM Compressor does.

import { copyHessians } from "../../../calibrate/hessians.ts";
import { hostedLinears } from "../../calibration/layers/calibrated-layer.ts";
import { invariant } from "../../../errors.ts";
import { type Capture, mlpLinears } from "../../../model/layer-linears.ts";
import { linearRows, linearWeight } from "../../../onload/host-layer.ts";
import type { OnloadedLayer } from "../../../onload/layer-weights.ts";
import type { QuantizeTask } from "../../../plan/plan-steps.ts";
import type { InputStatistics, ModuleWeights, QuantizerRun } from "../../../quantize/quantizer.ts";
import { byQuantizer, wantsHessian } from "../../../quantize/quantizers.ts";
import { quantizeStep } from "../../data-free/quantize-set.ts";
import type { TilePipeline } from "../../data-free/tile-pipeline.ts";
import type { TileTraffic } from "../../job/traffic.ts";
import type { PassStatistics } from "./calibrate.ts";
import { hostTraffic } from "../onload/host-layers.ts";
import type { LayerAtWork, LayerOutput, Pass } from "../layer-at-work.ts";
import { writeStaticScales } from "./measure-scales.ts";
import { openSettling, type Settling } from "./settle.ts";
import { ownCaptures } from "../exchange/reduce.ts";
import { type ModuleRecord, recordModules } from "../exchange/share-modules.ts";
import { waitLater } from "../../../wait-later.ts";

export async function quantize(
  work: LayerAtWork,
  output: LayerOutput,
  pass: Pass,
  statistics: PassStatistics,
): Promise<void> {
  const { layer, services, outputs } = work;
  const { share, reports, write, propagates } = output;
  const record = recordModules(work);
  const own = ownCaptures(work, pass);
  const chosen = layer.captures.flatMap(({ modules }) => modules).length * outputs.length;
  const begins = (module: string) => services.report("quantizing", module, 1 / Math.max(chosen, 1));
  for (const [quantizer, tasks] of byQuantizer(share.tasks)) {
    // What goes in tiles has its statistics, if it wants any, from the first pass.
    if (quantizer.tiled && pass.index > 0) continue;
    const wanted = capturesOf(tasks.filter(wantsHessian), own);
    // With more shares than inputs, some have nothing to quantize.
    if (!quantizer.tiled && wanted.length === 0) continue;
    // A quantizer uses them up: those that come after it need them whole.
    using inputs = await lendStatistics(work, output, wanted, statistics);
    await using settling = quantizer.tiled ? null : await openSettling(work, output, wanted);
    const run = runOf(
      work,
      output,
      { ...pass, captures: wanted },
      { ...statistics, inputs, record, settling },
    );
    const made = await quantizer.quantize({ ...run, tasks, begins });
    if (record) work.giving.push(waitLater(record.given(made)));
    reports.push(...made);
  }
  if (statistics.ranges) await writeStaticScales(share.scales, statistics.ranges, services.readbacks, write);
  if (pass.isLast && propagates) keepDequantized(work);
}

/** Captures that any of these tasks' modules reads. */
function capturesOf(tasks: readonly QuantizeTask[], captures: readonly Capture[]): Capture[] {
  const own = new Set(tasks.map(({ module }) => module));
  return captures.filter(({ modules }) => modules.some((module) => own.has(module)));
}

/** The pass's own Hessians for the last result that wants these, copies for those before it; drifts are of one result alone. */
async function lendStatistics(
  { services, outputs }: LayerAtWork,
  output: LayerOutput,
  captures: readonly Capture[],
  { inputs, drifts }: Pick<PassStatistics, "inputs" | "drifts">,
): Promise<InputStatistics & Disposable> {
  const read = new Set(captures.flatMap(({ modules }) => modules));
  const isWanted = outputs
    .slice(outputs.indexOf(output) + 1)
    .some(({ share }) => share.tasks.some((task) => read.has(task.module) && wantsHessian(task)));
  const drift = (capture: Capture) => drifts?.drift(capture) ?? null;
  if (isWanted) return { ...(await copyHessians(services.gpu, inputs, captures)), drift };
  return {
    ...inputs,
    drift,
    release(capture) {
      inputs.release(capture);
      drifts?.release(capture);
    },
    [Symbol.dispose]: () => undefined,
  };
}

function runOf(
  work: LayerAtWork,
  output: LayerOutput,
  pass: Pass,
  {
    inputs,
    squares,
    record,
    settling,
  }: Pick<PassStatistics, "squares"> & {
    readonly inputs: InputStatistics;
    readonly record: ModuleRecord | null;
    readonly settling: Settling | null;
  },
): Omit<QuantizerRun<QuantizeTask>, "tasks" | "begins"> {
  const { services, kept, schedule, host, staying } = work;
  const { step, write } = output;
  const { captures } = pass;
  return {
    gpu: services.gpu,
    uploads: services.uploads,
    readbacks: services.readbacks,
    pass: captures,
    statistics: inputs,
    phase: settling?.phase ?? schedule,
    order: settling?.order ?? captures,
    overlap: kept !== null || settling !== null,
    reaches: (capture) => settling?.reaches(capture),
    weights(module) {
      const weights = weightsOf(work, { output, settling }, module);
      return record ? record.weights(weights) : weights;
    },
    sawTooFew: (capture, tokens) => tokens < services.minExpertTokens && isRouted(work, capture),
    async round(tasks) {
      if (!services.tiles) return;
      const seen = squares ? { squares: await squares.read(services.readbacks) } : {};
      const { tiles } = services;
      const traffic = { ...hostTraffic(step, host, { ...services.traffic, write }), ...seen };
      if (staying.weights) work.rounding.push(waitLater(roundFrom(staying.weights, tiles, tasks, traffic)));
      else await quantizeStep(tiles, tasks, traffic);
    },
    write(tensor, offset, bytes) {
      write(tensor, offset, bytes);
      record?.write(tensor, offset, bytes);
    },
    checkpoint: async () => await services.checkpoint(),
    now: services.now,
    ends: (report) => record?.give(report),
  };
}

/** Of weights that stay on the GPU tiles are made there, and nothing changes the weights. */
async function roundFrom(
  weights: OnloadedLayer,
  tiles: TilePipeline,
  tasks: readonly QuantizeTask[],
  traffic: TileTraffic,
): Promise<void> {
  await quantizeStep(tiles, tasks, { ...traffic, load: async (...rows) => await weights.copyRows(...rows) });
}

/** True for experts that are calibrated on their own tokens, of which there may be few. */
function isRouted({ services, layer }: LayerAtWork, { modules }: Capture): boolean {
  const { feedForward } = layer.description;
  return (
    services.experts === "routed" &&
    feedForward?.kind === "experts" &&
    feedForward.experts.flatMap(mlpLinears).some(({ module }) => module === modules[0])
  );
}

function weightsOf(
  work: LayerAtWork,
  { output, settling }: { readonly output: LayerOutput; readonly settling: Settling | null },
  module: string,
): ModuleWeights {
  const { propagates } = output;
  if (work.kept) return keptWeights(work.kept, module, propagates);
  if (!settling) return hostWeights(work, module, output);
  const settled = keptWeights(settling.layer, module, propagates);
  return {
    ...settled,
    async load(firstRow, rows, to) {
      await settling.layer.settled(module);
      await settled.load(firstRow, rows, to);
    },
  };
}

/** A module's weights on the GPU, which become what its codes mean. */
function keptWeights(kept: OnloadedLayer, module: string, propagates: boolean): ModuleWeights {
  return {
    async load(firstRow, rows, to) {
      await kept.copyRows(module, firstRow, rows, to);
    },
    async store(firstRow, rows, from) {
      if (propagates) await kept.replaceRows(module, firstRow, rows, from);
    },
  };
}

/** A module's weights on the host; what its codes mean takes their place, or waits beside them while passes to come need them. */
function hostWeights(
  work: LayerAtWork,
  module: string,
  { propagates, meanings }: LayerOutput,
): ModuleWeights {
  const { layer, host, services, waiting, dequantized } = work;
  const { uploads, readbacks } = services;
  const linear = hostedLinears(layer).find((candidate) => candidate.module === module);
  invariant(linear, `${module} is a Linear of its layer`);
  const weight = linearWeight(host, linear);
  const apart = meanings ?? (waiting.has(module) ? dequantized : null);
  const keeps = propagates || meanings !== undefined;
  const meaning = apart && keeps ? host.allocate(weight.byteLength) : weight;
  if (keeps) apart?.set(module, meaning);
  const rowBytes = weight.byteLength / linear.rows;
  return {
    async load(firstRow, rows, to) {
      await uploads.write(linearRows(host, linear, firstRow, rows), to);
    },
    async store(firstRow, rows, from) {
      if (!keeps) return;
      await readbacks.read(from, 0, rows * rowBytes, (view, position) => {
        meaning.write(firstRow * rowBytes + position, view);
      });
    },
  };
}

function keepDequantized({ host, dequantized }: LayerAtWork): void {
  for (const [module, meaning] of dequantized) host.replaced.set(module, meaning);
}
