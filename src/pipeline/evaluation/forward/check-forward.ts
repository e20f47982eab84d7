// A sample of an evaluation once more by onnxruntime-web, an engine that shares no kernel with the forward pass that the figures
// are of: some layers, each from the states that the forward pass had before it, and some logits.

import type { ForwardCheck } from "../../../api/evaluator-api.ts";
import { firstCause, invariant, LayerpressError } from "../../../errors.ts";
import {
  type BuiltGraph,
  headGraph,
  HIDDEN_INPUT,
  layerGraph,
  LOGITS_OUTPUT,
} from "../../../evaluate/graph/decoder-graph.ts";
import type { LinearPlan } from "../../../evaluate/graph/weight-input.ts";
import { squaredDifferences } from "../../../evaluate/quality/squared-differences.ts";
import {
  floatsOf,
  masksOf,
  positionFeeds,
  runLayer,
  tokenFeeds,
  tokenRange,
} from "../../../evaluate/run-layer.ts";
import { closing, createEngine, type Engine } from "../../../evaluate/runtime/engine.ts";
import { yieldToMessages } from "../../../yield-to-messages.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { planLinears } from "../../../evaluate/weights/weight-values.ts";
import { type DecoderDescription, rowSize } from "../../../model/decoder-description.ts";
import { layerLinears } from "../../../model/layer-linears.ts";
import type { Watch, WatchedLayer, WatchedTokens } from "./measure-forward.ts";
import type { WatchedLogits } from "./predict-forward.ts";
import { roundsInput } from "./stored-weights.ts";

const CHECKED_TOKENS = 128;
const CHECKED_LOGITS = { tokens: 16, ids: 1024 };
const KEPT_BYTES = 512 * 1024 ** 2;

/** Relative differences of what layers add, and of logits, that float32 in another order of sums comes to. */
const TOLERANCE = { states: 1e-3, logits: 1e-3 };
/** A value between two codes goes to either, by its last digit. */
const ROUNDED_TOLERANCE = { states: 0.05, logits: 0.05 };

/** What a check looks at: the first layer of each kind, one in the middle and the last. */
export function watchSample({ layers }: DecoderDescription): Watch {
  const kinds = layers.map(({ mixers, feedForward }) =>
    [...mixers.map(({ kind }) => kind), feedForward?.kind].join(),
  );
  const firsts = kinds.flatMap((kind, index) => (kinds.indexOf(kind) === index ? [index] : []));
  const sample = new Set([...firsts, Math.floor(layers.length / 2), layers.length - 1]);
  return {
    tokens: CHECKED_TOKENS,
    layers: [...sample].toSorted((a, b) => a - b),
    logits: CHECKED_LOGITS,
    weightBytes: KEPT_BYTES,
  };
}

/**
 * Opens onnxruntime-web with the sample's sessions, which takes longer than to compute the sample: meant for while the figures are
 * computed. They take none of the GPU's memory until they run.
 * @throws DeviceLimitError if there is no GPU
 */
export async function openCheck(
  model: StoredModel,
  watch: Pick<Watch, "layers" | "logits">,
  budgetBytes: number,
): Promise<Engine> {
  const engine = await createEngine({ budgetBytes, provider: "webgpu" });
  // What keeps a session from being made is told when it is to run.
  await makeSessions(engine, model, watch).catch(() => undefined);
  return engine;
}

/** One after the other: the runtime makes one at a time. */
async function makeSessions(
  engine: Engine,
  model: StoredModel,
  { layers, logits }: Pick<Watch, "layers" | "logits">,
): Promise<void> {
  const { description } = model;
  const plan = planLinears(model, engine.maxInputBytes);
  const watched = description.layers.filter((_, index) => layers.includes(index));
  for (const layer of watched) await engine.prepare(layerGraph(description, layer, plan));
  await engine.prepare(checkedHead(description, plan, logits.ids));
}

export interface CheckRequest {
  readonly watched: WatchedTokens;
  /** Tokens of the sequence that they begin. */
  readonly length: number;
  readonly signal: AbortSignal;
}

/** What came of a check: figures, or the sentence that says why there are none; peak and rest of what the engine took. */
export interface CheckOutcome {
  readonly check: ForwardCheck | null;
  readonly notes: readonly string[];
  readonly peakBytes: number;
  readonly leftBytes: number;
}

/** Runs the sample by onnxruntime-web, and closes it. That it cannot is told, not thrown: the figures stand without it. */
export async function checkForward(engine: Engine, request: CheckRequest): Promise<CheckOutcome> {
  const found = await closing(engine, async () => await runCheck(engine, request));
  const { gpu } = engine;
  return { ...found, peakBytes: gpu?.peakBytes() ?? 0, leftBytes: gpu?.liveBytes() ?? 0 };
}

async function runCheck(engine: Engine, request: CheckRequest) {
  try {
    const check = await runSample(engine, request);
    return { check, notes: check.agrees ? [] : [disagreement(check)] };
  } catch (thrown) {
    const error = firstCause(await engine.reason(thrown));
    if (!(error instanceof LayerpressError)) throw error;
    return { check: null, notes: [`These figures were not checked by onnxruntime-web: ${error.message}`] };
  }
}

/** Computes the sample, and compares. */
export async function runSample(engine: Engine, request: CheckRequest): Promise<ForwardCheck> {
  const { watched, signal } = request;
  const { model, logits } = watched;
  const { layers } = model.description;
  const differences: { layer: string; difference: number }[] = [];
  for (const own of watched.layers) {
    await yieldToMessages();
    signal.throwIfAborted();
    const other = await otherLayer(engine, request, own);
    const layer = layers[own.index]?.name ?? "";
    differences.push({ layer, difference: addedDifference(own, other, model.description) });
  }
  const [worst] = differences.toSorted((a, b) => b.difference - a.difference);
  invariant(worst, "layers are watched");
  const logitsDifference = relative(logits.values, await otherLogits(engine, model, logits));
  const linears = layers.flatMap(layerLinears);
  const isRounded = linears.some((linear) => roundsInput(model, linear));
  const tolerance = isRounded ? ROUNDED_TOLERANCE : TOLERANCE;
  return {
    tokens: watched.ids.length,
    layers: differences.map(({ layer }) => layer),
    layer: worst.layer,
    statesDifference: worst.difference,
    logits: { tokens: logits.tokens, ids: logits.ids },
    logitsDifference,
    tolerance,
    agrees: worst.difference <= tolerance.states && logitsDifference <= tolerance.logits,
  };
}

/** Rows behind a layer, from those before it. */
async function otherLayer(
  engine: Engine,
  { watched: { model, ids }, length }: Pick<CheckRequest, "watched" | "length">,
  { index, before }: WatchedLayer,
): Promise<Float32Array<ArrayBuffer>> {
  const { description } = model;
  const layer = description.layers[index];
  invariant(layer, "a layer of the model is watched");
  const plan = planLinears(model, engine.maxInputBytes);
  using onloaded = await engine.onload(model, layerGraph(description, layer, plan), length);
  const positions = positionFeeds(engine, 0, ids.length, masksOf(description));
  const feeds = { ...positions, ...(await tokenFeeds(engine, model, ids, index)) };
  return await runLayer(engine, onloaded, before, { width: rowSize(description), feeds });
}

/** ‖own − other‖ / ‖other − before‖: what goes through a layer unchanged hides no difference. */
function addedDifference(
  { before, behind }: WatchedLayer,
  other: Float32Array,
  description: DecoderDescription,
): number {
  const { difference } = squaredDifferences(behind, other, description);
  const added = squaredDifferences(before, other, description).difference;
  return Math.sqrt(difference / (added || 1));
}

async function otherLogits(
  engine: Engine,
  model: StoredModel,
  { tokens, ids, states }: WatchedLogits,
): Promise<Float32Array> {
  const { description } = model;
  const graph = checkedHead(description, planLinears(model, engine.maxInputBytes), ids);
  using head = await engine.onload(model, graph, 1);
  const width = rowSize(description);
  const outputs = await head.run({
    ...tokenRange(engine, 0, tokens),
    [HIDDEN_INPUT]: engine.floats(states, [states.length / width, width]),
  });
  return floatsOf(outputs[LOGITS_OUTPUT]);
}

function checkedHead(description: DecoderDescription, plan: LinearPlan, ids: number): BuiltGraph {
  return headGraph(description, plan, ids < description.vocabSize ? { firstRow: 0, rows: ids } : null);
}

function relative(own: Float32Array, other: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (const [at, value] of other.entries()) {
    difference += ((own[at] ?? Number.NaN) - value) ** 2;
    norm += value ** 2;
  }
  return Math.sqrt(difference / (norm || 1));
}

function disagreement({ layer, statesDifference, logitsDifference, tolerance }: ForwardCheck): string {
  return `onnxruntime-web does not agree with these figures: what ${layer} adds to hidden states is off by ${statesDifference.toExponential(1)} (${tolerance.states} is allowed), logits are off by ${logitsDifference.toExponential(1)} (${tolerance.logits}). One of the two is wrong on this GPU; do not trust the figures.`;
}
