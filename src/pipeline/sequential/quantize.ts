// Lets each quantizer of the recipe choose the codes of its modules, from what a pass has collected. The layer then holds
// what the codes mean; of those that are rounded to nearest it keeps the original weights, as LLM Compressor does.

import { invariant } from "../../errors.ts";
import { type Capture, mlpLinears } from "../../model/layer-linears.ts";
import { linearRows } from "../../onload/layer-weights.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import type { ModuleWeights, QuantizerRun } from "../../quantize/quantizer.ts";
import { byQuantizer } from "../../quantize/quantizers.ts";
import { quantizeStep } from "../data-free/quantize-set.ts";
import type { PassStatistics } from "./calibrate.ts";
import { hostTraffic } from "./host-layers.ts";
import type { LayerAtWork, Pass } from "./layer-at-work.ts";
import { writeStaticScales } from "./measure-scales.ts";
import { ownCaptures } from "./reduce.ts";
import { type ModuleRecord, recordModules } from "./share-modules.ts";

export async function quantize(work: LayerAtWork, pass: Pass, statistics: PassStatistics): Promise<void> {
  const { layer, services } = work;
  const record = recordModules(work);
  const own = ownCaptures(work, pass);
  const chosen = layer.captures.flatMap(({ modules }) => modules).length;
  for (const [quantizer, tasks] of byQuantizer(layer.tasks)) {
    // What goes in tiles has its statistics, if it wants any, from the first pass.
    if (quantizer.tiled && pass.index > 0) continue;
    // With more shares than inputs, some have nothing to quantize.
    if (!quantizer.tiled && own.length === 0) continue;
    const run = { ...runOf(work, pass, statistics, record), tasks };
    const begins = (module: string) => services.report("quantizing", module, 1 / Math.max(chosen, 1));
    const reports = await quantizer.quantize({ ...run, begins });
    await record?.give(reports);
    work.reports.push(...reports);
  }
  if (statistics.ranges)
    await writeStaticScales(layer.scales, statistics.ranges, services.readbacks, services.write);
  if (pass.isLast && services.propagateError) keepDequantized(work);
}

function runOf(
  work: LayerAtWork,
  pass: Pass,
  { inputs, squares }: PassStatistics,
  record: ModuleRecord | null,
): Omit<QuantizerRun<QuantizeTask>, "tasks" | "begins"> {
  const { services, kept, schedule, host, step } = work;
  return {
    gpu: services.gpu,
    uploads: services.uploads,
    readbacks: services.readbacks,
    pass: ownCaptures(work, pass),
    statistics: inputs,
    phase: schedule,
    overlap: kept !== null,
    weights(module) {
      const weights = kept ? keptWeights(work, module) : hostWeights(work, pass, module);
      const task = work.layer.tasks.find((candidate) => candidate.module === module);
      return record && task ? record.weights(task, weights) : weights;
    },
    sawTooFew: (capture, tokens) => tokens < services.minExpertTokens && isRouted(work, capture),
    async round(tasks) {
      if (!services.tiles) return;
      const seen = squares ? { squares: await squares.read(services.readbacks) } : {};
      const traffic = hostTraffic(step, host, services.traffic);
      await quantizeStep(services.tiles, tasks, { ...traffic, ...seen });
    },
    write(tensor, offset, bytes) {
      services.write(tensor, offset, bytes);
      record?.write(tensor, offset, bytes);
    },
    checkpoint: async () => await services.checkpoint(),
  };
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

/** A module's weights on the GPU, which become what its codes mean. */
function keptWeights({ kept, services: { propagateError } }: LayerAtWork, module: string): ModuleWeights {
  invariant(kept, "the layer stays on the GPU");
  return {
    async load(firstRow, rows, to) {
      await kept.copyRows(module, firstRow, rows, to);
    },
    async store(firstRow, rows, from) {
      if (propagateError) await kept.replaceRows(module, firstRow, rows, from);
    },
  };
}

/** A module's weights in host memory; what its codes mean takes their place, or waits beside them until the last pass. */
function hostWeights(work: LayerAtWork, { isLast }: Pass, module: string): ModuleWeights {
  const { layer, host, services, dequantized } = work;
  const { uploads, readbacks, propagateError } = services;
  const linear = layer.linears.find((candidate) => candidate.module === module);
  invariant(linear, `${module} is a Linear of its layer`);
  const weight = linearRows(host, linear, 0, linear.rows);
  const meaning = isLast ? weight : new Uint8Array(weight.byteLength);
  if (!isLast) dequantized.set(module, meaning);
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

function keepDequantized({ layer, host, dequantized }: LayerAtWork): void {
  for (const linear of layer.linears) {
    const meaning = dequantized.get(linear.module);
    if (meaning) linearRows(host, linear, 0, linear.rows).set(meaning);
  }
}
