// A decoder layer of a model whose steps are planned: its tensors, its tasks, and the inputs of which statistics are wanted.

import { invariant, RecipeError } from "../../../errors.ts";
import { isFloatDtype } from "../../../formats/numbers/dtype.ts";
import { type QuantizationArgs, usesImportance } from "../../../formats/schemes/quantization-args.ts";
import type { RewritingModifier } from "../../../formats/recipe/recipe.ts";
import type { MappingChooser } from "../../../plan/targets/choose-mappings.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import { ofModules } from "../../../model/by-module.ts";
import {
  type Capture,
  captures,
  type ExpertCalibration,
  layerLinears,
} from "../../../model/layer-linears.ts";
import type { PlanStep, QuantizeTask } from "../../../plan/plan-steps.ts";
import type { SourceTensor } from "../../../plan/checkpoint/read-headers.ts";
import type { StatisticKind } from "../../../quantize/quantizer.ts";
import { quantizerFor } from "../../../quantize/quantizers.ts";
import { rewriterFor } from "../../../quantize/rewriters.ts";
import { elements } from "../../../plan/checkpoint/summarize-model.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { headVectors } from "../../../model/head-layer.ts";
import { staticScales } from "./static-scales.ts";
import { type CalibratedLayer, hostedLinears, type LayerRewriting } from "./calibrated-layer.ts";

/** Inputs by what is wanted of them. */
interface WantedInputs extends Pick<CalibratedLayer, "captures" | "weighed"> {
  readonly drifting: readonly Capture[];
}

/** Inputs of which any of the results wants a statistic, in the order in which the forward pass meets them. */
export function wantedOf(layers: readonly WantedInputs[], shared: readonly Capture[]): WantedInputs {
  const among = (wanted: readonly Capture[]) => {
    const modules = new Set(wanted.flatMap((capture) => capture.modules));
    return shared.filter((capture) => capture.modules.some((module) => modules.has(module)));
  };
  return {
    captures: among(layers.flatMap((layer) => layer.captures)),
    weighed: among(layers.flatMap((layer) => layer.weighed)),
    drifting: among(layers.flatMap((layer) => layer.drifting)),
  };
}

/** What modifiers that move factors find in a layer. */
export function layerRewritings(
  layer: LayerDescription,
  tasks: readonly QuantizeTask[],
  choosers: readonly { readonly modifier: RewritingModifier; readonly chooser: MappingChooser }[],
  experts: ExpertCalibration,
): LayerRewriting[] {
  return choosers.map(({ modifier, chooser }) => {
    const mappings = chooser.choose(layer, new Set(tasks.map(({ module }) => module)));
    const read = new Set(mappings.flatMap(({ balance }) => balance.map(({ module }) => module)));
    const own = captures(layer, experts).filter(({ modules }) => modules.some((module) => read.has(module)));
    const demand = { modifier, mappings, captures: own, tasks };
    return { modifier, mappings, captures: own, hessians: rewriterFor(modifier).hessians(demand) };
  });
}

/**
 * A layer, the tensors that it takes, and what is to be collected of its inputs.
 * @throws RecipeError if modules that share an input are to be quantized in different orders
 */
export function layerOf(
  description: LayerDescription,
  step: PlanStep,
  tensors: ReadonlyMap<string, SourceTensor>,
  { cache, experts }: { readonly cache: QuantizationArgs | null; readonly experts: ExpertCalibration },
): Omit<
  CalibratedLayer,
  "rewritings" | "beside" | "isBeforeHead" | "drifting" | "rewritesOriginal" | "leavesErrors"
> &
  WantedInputs {
  const tasks = step.quantize;
  const wanting = (kind: StatisticKind) =>
    tasks.filter((task) => quantizerFor(task).statistics(task).includes(kind));
  const linears = layerLinears(description);
  const shared = captures(description, experts);
  const capturesOf = (kind: StatisticKind) => {
    const wanted = new Set(wanting(kind).map(({ module }) => module));
    return shared.filter(({ modules }) => modules.some((module) => wanted.has(module)));
  };
  const hessians = wanting("hessian");
  for (const { modules } of shared) checkActorder(ofModules(hessians, modules));
  const met = new Set(shared.flatMap(({ modules }) => modules));
  checkWeighable(tasks.filter(({ module }) => !met.has(module)));
  return {
    description,
    captures: capturesOf("hessian"),
    weighed: capturesOf("squares"),
    drifting: capturesOf("drift"),
    linears,
    ...besideWeights(hostedLinears({ description, linears }), description, step),
    tasks,
    scales: staticScales(description, step, cache, experts),
    dtypeOf(name) {
      const dtype = tensors.get(name)?.dtype;
      invariant(dtype && isFloatDtype(dtype), `${name} is a floating-point tensor`);
      return dtype;
    },
  };
}

/** Tensors of a layer's step beside weights of Linears. What stands beside a head is not all read by it. */
function besideWeights(
  linears: readonly Linear[],
  description: LayerDescription,
  { copy, quantize }: PlanStep,
): Pick<CalibratedLayer, "vectors" | "carriedBytes"> {
  const weights = new Set(linears.map(({ source }) => source.tensor));
  const read = description.head ? headVectors(description) : null;
  const own = [...copy, ...quantize.map(({ tensor }) => tensor)].filter(({ name }) => !weights.has(name));
  const isRead = ({ name, dtype }: SourceTensor) => isFloatDtype(dtype) && (!read || read.has(name));
  return {
    vectors: own.filter(isRead).map((tensor) => ({ name: tensor.name, elements: elements(tensor) })),
    carriedBytes: own
      .filter((tensor) => !isRead(tensor))
      .reduce((sum, tensor) => sum + tensor.end - tensor.start, 0),
  };
}

/** @throws RecipeError if one of these modules, whose inputs no calibration comes by, weighs columns by them. */
export function checkWeighable(tasks: readonly QuantizeTask[]): void {
  const unseen = tasks.find(({ weights }) => usesImportance(weights));
  if (!unseen) return;
  throw new RecipeError(
    `${unseen.module} is to have its ranges by ${unseen.weights.observer}, but only inputs of Linears inside of decoder layers, and of a head behind them, are measured. Add it to ignore, or take memoryless_mse for it.`,
  );
}

/** Modules that see one input share its Hessian, and with it the order of columns. */
function checkActorder(tasks: readonly QuantizeTask[]): void {
  const inOrder = tasks.find(({ weights }) => weights.actorder === null);
  const byActivation = tasks.find(({ weights }) => weights.actorder !== null);
  if (!inOrder || !byActivation) return;
  throw new RecipeError(
    `${byActivation.module} has the actorder ${byActivation.weights.actorder}, but ${inOrder.module} has none: they see the same input and must be quantized in the same order. Give both the same actorder.`,
  );
}
