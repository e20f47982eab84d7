// A planned model and a calibration set to what the sequential pipeline works on: the decoder's description, and for each
// of its layers the tensors, captures and tasks.

import type { CalibrationSet } from "../../calibrate/select-sequences.ts";
import { invariant, RecipeError, UnsupportedModelError } from "../../errors.ts";
import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { ForwardProducts } from "../../formats/recipe/forward-products.ts";
import type { RewritingModifier } from "../../formats/recipe/recipe.ts";
import { createMappingChooser } from "../../plan/targets/choose-mappings.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import { type DecoderDescription, rowSize } from "../../model/decoder-description.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { captures, type ExpertCalibration } from "../../model/layer-linears.ts";
import type { PlanStep } from "../../plan/plan-steps.ts";
import type { Batching, CalibrationDemand, GpuLimits } from "./costs/calibration-memory.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import type { CalibrationPlan } from "./fit/calibration-plan.ts";
import { planCalibration } from "./fit-calibration.ts";
import type { Tiling } from "../../quantize/rtn/plan-tiling.ts";
import { CHUNK_SUMS, chunksBySequence, chunkTokens } from "./samples/sample-chunks.ts";
import { checkMeasurable } from "./layers/static-scales.ts";
import { useRest } from "./memory/rest-of-room.ts";
import { earlyBytes } from "./memory/early-room.ts";
import { findStrassenRoom } from "./memory/strassen-room.ts";
import { streamsOf } from "./samples/streams-of.ts";
import type { CalibrationOptions } from "../../api/job-options.ts";
import type { CalibratedLayer } from "./layers/calibrated-layer.ts";
import { type Aside, besideBytes, tokenInputBytes } from "./costs/beside-bytes.ts";
import { headOf } from "./layers/head-of.ts";
import { checkWeighable, layerOf, layerRewritings, wantedOf } from "./layers/layer-of.ts";

export interface CalibrationJob {
  readonly description: DecoderDescription;
  readonly set: CalibrationSet;
  readonly options: CalibrationOptions;
  readonly plan: CalibrationPlan;
  readonly layers: readonly CalibratedLayer[];
  /** Tiles of those weights of the layers that go in tiles; null if there are none. */
  readonly tiling: Tiling | null;
  /**
   * The chunk of samples that each sequence belongs to, where Hessians are summed along the tree of chunks: the same bytes however
   * many jobs share the samples. Null where each Hessian is one sum, and only one job can make it.
   */
  readonly chunkAt: readonly number[] | null;
  /** The most GPU memory that the layers take. */
  readonly peakBytes: number;
}

export function expertCalibration(options: CalibrationOptions): ExpertCalibration {
  return options.moe_calibrate_all_experts ? "all" : "routed";
}

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
  const head = headOf(description, [steps, ...beside.map((other) => other.steps)]);
  const described = head ? [...description.layers, head] : description.layers;
  const layers = described.map((layer): CalibratedLayer => {
    const step = steps.find(({ name }) => name === layer.name);
    if (!step) {
      throw new UnsupportedModelError(
        `The files hold no tensors of ${layer.name}, which config.json declares. The data-free recipes still work.`,
      );
    }
    const rewritings = layerRewritings(layer, step.quantize, choosers, experts);
    const own = layerOf(layer, step, tensors, { cache, experts });
    const others = beside.map((other) => {
      const otherStep = other.steps.find(({ name }) => name === layer.name);
      invariant(otherStep, "recipes of one run cut a model into the same steps");
      return layerOf(layer, otherStep, tensors, { cache: other.cache, experts });
    });
    const { drifting, ...wanted } = wantedOf([own, ...others], captures(layer, experts));
    const original = { ...seen, drifting: comparesOriginal ? drifting : null };
    const isBeforeHead = head !== null && layer === description.layers.at(-1);
    return { ...own, ...wanted, ...original, isBeforeHead, beside: others, rewritings };
  });
  for (const { chooser } of choosers) chooser.checkUsed();
  checkOutside(layers, steps);
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
  const chunkAt = sums === null ? null : chunksBySequence(lengths);
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

/** @throws RecipeError if something is to be measured where no samples come by */
function checkOutside(layers: readonly CalibratedLayer[], steps: readonly PlanStep[]): void {
  const names = new Set(layers.map(({ description }) => description.name));
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
