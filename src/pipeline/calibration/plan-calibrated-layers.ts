// A planned model and a calibration set to what the sequential pipeline works on: the decoder's description, and for each
// of its layers the tensors, captures and tasks.

import { inputChannelsBytes } from "../../calibrate/channels/input-channels.ts";
import type { CalibrationSet } from "../../calibrate/select-sequences.ts";
import { distinctIds } from "../../calibrate/forward/token-inputs/token-input-source.ts";
import { tokenTablesBytes } from "../../calibrate/forward/token-inputs/token-inputs.ts";
import { bufferBytes } from "../../gpu/memory.ts";
import { inputSquaresBytes } from "../../calibrate/squares/input-squares.ts";
import { activationRangesBytes } from "../../calibrate/ranges/activation-ranges.ts";
import { invariant, RecipeError, UnsupportedModelError } from "../../errors.ts";
import { isFloatDtype } from "../../formats/numbers/dtype.ts";
import { type QuantizationArgs, usesImportance } from "../../formats/schemes/quantization-args.ts";
import type { ForwardProducts } from "../../formats/recipe/forward-products.ts";
import type { RewritingModifier } from "../../formats/recipe/recipe.ts";
import { createMappingChooser, type MappingChooser } from "../../plan/targets/choose-mappings.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import { type DecoderDescription, type LayerDescription, rowSize } from "../../model/decoder-description.ts";
import { ofModules } from "../../model/by-module.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { type Capture, captures, type ExpertCalibration, layerLinears } from "../../model/layer-linears.ts";
import type { PlanStep, QuantizeTask } from "../../plan/plan-steps.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import type { Batching, CalibrationDemand, GpuLimits } from "./calibration-memory.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { type CalibrationPlan, planCalibration } from "./fit-calibration.ts";
import { planTiling, type Tiling } from "../../quantize/rtn/plan-tiling.ts";
import type { StatisticKind } from "../../quantize/quantizer.ts";
import { quantizerFor } from "../../quantize/quantizers.ts";
import { rewriterFor } from "../../quantize/rewriters.ts";
import { CHUNK_SUMS, chunksByBatch, chunkTokens } from "./sample-chunks.ts";
import { checkMeasurable, staticScales } from "./static-scales.ts";
import { useRest } from "./rest-of-room.ts";
import { earlyBytes } from "./early-room.ts";
import { findStrassenRoom } from "./strassen-room.ts";
import { streamsOf } from "./streams-of.ts";
import type { CalibrationOptions } from "../../api/job-options.ts";
import { type CalibratedLayer, type LayerRewriting, sharesOf } from "./calibrated-layer.ts";

export interface CalibrationJob {
  readonly description: DecoderDescription;
  readonly set: CalibrationSet;
  readonly options: CalibrationOptions;
  readonly plan: CalibrationPlan;
  readonly layers: readonly CalibratedLayer[];
  /** Tiles of those weights of the layers that go in tiles; null if there are none. */
  readonly tiling: Tiling | null;
  /**
   * The chunk of samples that a batch belongs to, by the batch's first sequence, where Hessians are summed along the tree of chunks:
   * the same bytes however many jobs share the samples. Null where each Hessian is one sum, and only one job can make it.
   */
  readonly chunkAt: ReadonlyMap<number, number> | null;
  /** The most GPU memory that the layers take. */
  readonly peakBytes: number;
}

export function expertCalibration(options: CalibrationOptions): ExpertCalibration {
  return options.moe_calibrate_all_experts ? "all" : "routed";
}

/** Share of the GPU budget that tiles may take beside a calibrating layer. */
const TILES_SHARE = 1 / 8;

/** What a recipe makes of a model. */
export interface QuantizedSteps {
  readonly steps: readonly PlanStep[];
  readonly cache: QuantizationArgs | null;
  /** Modifiers that change weights before codes are chosen; none if absent. */
  readonly rewriting?: readonly RewritingModifier[];
  /** What other recipes make of it in the same run; none if absent. */
  readonly beside?: readonly Pick<QuantizedSteps, "steps" | "cache">[];
  /** Batches to keep to where they fit. */
  readonly like?: Batching | null;
}

/**
 * Plans the calibrated part of a job.
 * @throws UnsupportedModelError if the architecture is not known, MalformedModelError if a tensor's shape is not what
 * config.json makes it, DeviceLimitError if the budget is too small.
 */
export function planCalibrationJob(
  model: Pick<OpenModel, "config" | "tensors">,
  { steps, cache, rewriting = [], beside = [], like = null }: QuantizedSteps,
  set: CalibrationSet,
  options: CalibrationOptions,
  limits: GpuLimits,
): CalibrationJob {
  const description = describeDecoder(
    model.config.raw,
    model.tensors.map(({ name }) => name),
  );
  checkShapes(description, model.tensors);
  checkRouting(description, options);
  const tensors = new Map(model.tensors.map((tensor) => [tensor.name, tensor]));
  const experts = expertCalibration(options);
  const choosers = rewriting.map((modifier) => ({ modifier, chooser: createMappingChooser(modifier) }));
  const { comparesOriginal, ...seen } = streamsOf({ steps, rewriting }, description, options);
  const layers = description.layers.map((layer): CalibratedLayer => {
    const step = steps.find(({ name }) => name === layer.name);
    if (!step) {
      throw new UnsupportedModelError(
        `The files hold no tensors of ${layer.name}, which config.json declares. The data-free recipes still work.`,
      );
    }
    const rewritings = layerRewritings(layer, step.quantize, choosers, experts);
    const own = calibratedLayer(layer, step, tensors, { cache, experts });
    const others = beside.map((other) => {
      const otherStep = other.steps.find(({ name }) => name === layer.name);
      invariant(otherStep, "recipes of one run cut a model into the same steps");
      return calibratedLayer(layer, otherStep, tensors, { cache: other.cache, experts });
    });
    const { drifting, ...wanted } = wantedOf([own, ...others], captures(layer, experts));
    const original = { ...seen, drifting: comparesOriginal ? drifting : null };
    return { ...own, ...wanted, ...original, beside: others, rewritings };
  });
  for (const { chooser } of choosers) chooser.checkUsed();
  checkOutside(description, steps);
  const streams = comparesOriginal || seen.rewritesOriginal ? 2 : 1;
  return fitJob({ description, set, options, layers, streams, like }, limits);
}

interface DescribedJob extends Pick<CalibrationJob, "description" | "set" | "options" | "layers"> {
  readonly streams: 1 | 2;
  readonly like: Batching | null;
}

/** A job whose layers are known, and how it fits the GPU. */
function fitJob({ streams, like, ...job }: DescribedJob, limits: GpuLimits): CalibrationJob {
  const { description, set, options, layers } = job;
  const lengths = set.sequences.map(({ length }) => length);
  const aside = besideBytes(layers, set, limits.budgetBytes);
  const { tiling } = aside;
  const bytes = aside.bytes + tokenInputBytes(description, set, limits);
  const hidden = { size: rowSize(description), dtype: options.hidden_states_dtype, streams } as const;
  const sums = limits.sums ?? (isShareable(layers, options) ? CHUNK_SUMS : null);
  const maxTokens = sums === null ? null : chunkTokens(lengths);
  const demand = { layers, lengths, hidden, maxTokens, like };
  const own = { ...limits, ...(sums !== null && { sums }) };
  const plan = planBeside(demand, { ...aside, bytes }, options.forward_products, own);
  const chunkAt = sums === null ? null : chunksByBatch(plan.batches);
  return { ...job, plan, tiling, chunkAt, peakBytes: plan.peakBytes + bytes };
}

/**
 * True if jobs that share the samples are to make the bytes of one that has all: where no error goes on, the undivided job is
 * what parts are held against. Where it does, sums in one piece leave more memory to weights.
 */
function isShareable(layers: readonly CalibratedLayer[], { propagate_error }: CalibrationOptions): boolean {
  const wanted = layers.some(({ captures: inputs }) => inputs.length > 0);
  return !propagate_error && wanted && layers.every(({ rewritings }) => rewritings.length === 0);
}

/** The plan of what stands beside other things of so many bytes, with room for Strassen's products if there is any to spare. */
function planBeside(
  demand: CalibrationDemand,
  aside: Pick<Aside, "bytes" | "collected">,
  products: ForwardProducts,
  limits: GpuLimits,
): CalibrationPlan {
  const { bytes: asideBytes } = aside;
  const plan = planCalibration(demand, { ...limits, budgetBytes: limits.budgetBytes - asideBytes });
  const room = findStrassenRoom({ plan, layers: demand.layers, asideBytes }, products, limits);
  const roomy = room ? { ...plan, strassen: room.place, peakBytes: plan.peakBytes + room.bytes } : plan;
  const used = useRest(roomy, aside, limits);
  // Rings that are deeper then take room of their own.
  return { ...used, earlyBytes: earlyBytes({ ...used, peakBytes: roomy.peakBytes }) };
}

/** @throws RecipeError if something outside of the decoder's layers is to be measured */
function checkOutside({ layers }: DecoderDescription, steps: readonly PlanStep[]): void {
  const names = new Set(layers.map(({ name }) => name));
  for (const step of steps) {
    if (names.has(step.name)) continue;
    checkMeasurable(step);
    checkWeighable(step.quantize);
  }
}

/** @throws RecipeError if experts are to see their own tokens alone, and there are no experts */
function checkRouting({ layers }: DecoderDescription, options: CalibrationOptions): void {
  if (options.moe_calibrate_all_experts) return;
  if (layers.some(({ feedForward }) => feedForward?.kind === "experts")) return;
  throw new RecipeError(
    "This model has no experts, so that calibrating them on the tokens that are routed to them (moe_calibrate_all_experts: false, --routed-experts-only) would change nothing: leave it out.",
  );
}

/** Inputs by what is wanted of them. */
interface WantedInputs extends Pick<CalibratedLayer, "captures" | "weighed"> {
  readonly drifting: readonly Capture[];
}

/** Inputs of which any of the results wants a statistic, in the order in which the forward pass meets them. */
function wantedOf(layers: readonly WantedInputs[], shared: readonly Capture[]): WantedInputs {
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

/** What stands beside everything else. */
interface Aside {
  readonly tiling: Tiling | null;
  readonly bytes: number;
  /** So many of them are a layer's own. */
  readonly collected: number;
}

/** What is set aside for tiles, ranges, squares and channels. */
function besideBytes(layers: readonly CalibratedLayer[], set: CalibrationSet, budgetBytes: number): Aside {
  const tiled = layers
    .flatMap(sharesOf)
    .flatMap(({ tasks }) => tasks.filter((task) => quantizerFor(task).tiled));
  const tiling = tiled.length > 0 ? planTiling(tiled, budgetBytes * TILES_SHARE) : null;
  const ranges = layers.map((layer) => {
    const observed = new Set(
      sharesOf(layer).flatMap(({ scales }) => scales.flatMap((scale) => scale.observed)),
    );
    return activationRangesBytes(observed.size, set.sequences.length);
  });
  const channels = layers.flatMap(({ rewritings }) =>
    rewritings.map(({ captures: read }) => inputChannelsBytes(read)),
  );
  const squares = layers.map(({ weighed }) => inputSquaresBytes(weighed));
  const collected = Math.max(0, ...ranges) + Math.max(0, ...squares) + Math.max(0, ...channels);
  return { tiling, bytes: (tiling?.peakBytes ?? 0) + collected, collected };
}

/** What token blocks are given, and each token's row of it. */
function tokenInputBytes(
  { tokenInputs, hiddenSize }: DecoderDescription,
  { sequences, tokens }: CalibrationSet,
  { maxBufferBytes }: GpuLimits,
): number {
  if (!tokenInputs) return 0;
  const ids = distinctIds(sequences).ids.length;
  // At most as many batches as sequences, each in a buffer of its own.
  const rows = tokens * 4 + sequences.length * bufferBytes(1);
  return tokenTablesBytes({ size: tokenInputs.size, hiddenSize, ids }, maxBufferBytes) + rows;
}

function layerRewritings(
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

function calibratedLayer(
  description: LayerDescription,
  step: PlanStep,
  tensors: ReadonlyMap<string, SourceTensor>,
  { cache, experts }: { readonly cache: QuantizationArgs | null; readonly experts: ExpertCalibration },
): Omit<CalibratedLayer, "rewritings" | "beside" | "drifting" | "rewritesOriginal" | "leavesErrors"> &
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
  const sources = new Set(linears.map(({ source }) => source.tensor));
  const own = [...step.copy, ...step.quantize.map(({ tensor }) => tensor)];
  const vectors = own
    .filter(({ name, dtype }) => !sources.has(name) && isFloatDtype(dtype))
    .map(({ name, shape }) => ({ name, elements: shape.reduce((product, size) => product * size, 1) }));
  return {
    description,
    captures: capturesOf("hessian"),
    weighed: capturesOf("squares"),
    drifting: capturesOf("drift"),
    linears,
    vectors,
    tasks,
    scales: staticScales(description, step, cache, experts),
    dtypeOf(name) {
      const dtype = tensors.get(name)?.dtype;
      invariant(dtype && isFloatDtype(dtype), `${name} is a floating-point tensor`);
      return dtype;
    },
  };
}

/** @throws RecipeError if one of these modules, whose inputs no calibration comes by, weighs columns by them. */
function checkWeighable(tasks: readonly QuantizeTask[]): void {
  const unseen = tasks.find(({ weights }) => usesImportance(weights));
  if (!unseen) return;
  throw new RecipeError(
    `${unseen.module} is to have its ranges by ${unseen.weights.observer}, but only inputs of Linears inside of decoder layers are measured. Add it to ignore, or take memoryless_mse for it.`,
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
