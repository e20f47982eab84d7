// Perplexity of one model, or of an original and its quantized version side by side, one layer onloaded at a time, so that
// neither model has to fit. Hidden states wait on the GPU where they fit, else in memory.

import { createLifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { HIDDEN_INPUT, HIDDEN_OUTPUT, layerGraph } from "../graph/decoder-graph.ts";
import { differenceGraph, STATISTICS_INPUTS, STATISTICS_OUTPUT } from "../graph/statistics-graph.ts";
import { spreadRows } from "../../formats/spread-rows.ts";
import { rowSize } from "../../model/decoder-description.ts";
import { floatsOf, masksOf, positionFeeds, tokenFeeds } from "../run-layer.ts";
import type { Engine, OnloadedGraph } from "../runtime/engine.ts";
import type { Feeds } from "../runtime/sessions.ts";
import { yieldToMessages } from "../runtime/yield-to-messages.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { planLinears } from "../weights/weight-values.ts";
import { createHiddenStates, fitsOnGpu, type HiddenStates } from "./hidden-states.ts";
import { type PhaseClock, startPhaseClock } from "./phase-clock.ts";
import { predictTokens } from "./predict-tokens.ts";
import { type Totals, totalsOf } from "./token-statistics.ts";
import type { QualityRequest, Stream } from "./quality-request.ts";

export interface LayerError {
  readonly layer: string;
  /** ‖quantized − original‖ / ‖original‖ of the hidden states after the layer. */
  readonly relativeError: number;
}

export interface Quality extends Totals {
  readonly layers: readonly LayerError[];
  /** Seconds by phase. */
  readonly phases: Readonly<Record<string, number>>;
}

/** @throws DeviceLimitError if a layer does not fit, an AbortError when it is stopped. */
export async function measureQuality(request: QualityRequest): Promise<Quality> {
  const { model, original } = request;
  const { layers } = model.description;
  const clock = startPhaseClock();
  using lifetime = createLifetime();
  const streams: Stream[] = [];
  for (const each of original ? [model, original] : [model]) {
    const states = await clock.time("embedding", async () => await embedAll(request, each));
    streams.push({ model: each, states: lifetime.use(states) });
  }
  const compare = await createComparison(request, streams);
  lifetime.use(compare);
  const errors: LayerError[] = [];
  for (const [index, { name }] of layers.entries()) {
    request.onProgress(index / (layers.length + 1), name);
    for (const stream of streams) await advance(request, stream, index, clock);
    const relativeError = await clock.time("differences", async () => await compare.relativeError());
    if (relativeError !== null) errors.push({ layer: name, relativeError });
  }
  request.onProgress(layers.length / (layers.length + 1), "logits");
  const predictions = await clock.time("predictions", async () => await predictTokens(request, streams));
  return { ...totalsOf(predictions, original !== null), layers: errors, phases: clock.seconds() };
}

async function embedAll(request: QualityRequest, model: StoredModel): Promise<HiddenStates> {
  const { engine, sequences, original } = request;
  const { hiddenSize } = model.description;
  const width = rowSize(model.description);
  const tokens = sequences.reduce((sum, { length }) => sum + length, 0);
  const bytes = tokens * width * 4 * (original ? 2 : 1);
  const place = fitsOnGpu(engine, bytes) ? "gpu" : "host";
  const embedded = await model.embed(sequences);
  const rows = embedded.map((states) => spreadRows(states, hiddenSize, width));
  return await createHiddenStates(engine, place, rows, width);
}

/** Runs all sequences through one layer. */
async function advance(
  { engine, signal, sequences }: QualityRequest,
  { model, states }: Stream,
  index: number,
  clock: PhaseClock,
): Promise<void> {
  const { description } = model;
  const layer = description.layers[index];
  invariant(layer, "both models have the same layers");
  const plan = planLinears(model, engine.maxInputBytes);
  const built = layerGraph(description, layer, plan);
  const longest = Math.max(...states.lengths);
  using onloaded = await clock.time("weights", async () => await engine.onload(model, built, longest));
  const positionsOf = rememberPositions(engine, model);
  for (const [at, length] of states.lengths.entries()) {
    await yieldToMessages();
    signal.throwIfAborted();
    const given = await tokenFeeds(engine, model, sequences[at] ?? [], index);
    const feeds = { ...positionsOf(length), ...given };
    await clock.time("layers", async () => await runOne(engine, onloaded, states, at, feeds));
  }
}

async function runOne(
  engine: Engine,
  layer: OnloadedGraph,
  states: HiddenStates,
  at: number,
  given: Feeds,
): Promise<void> {
  const feeds = { ...given, [HIDDEN_INPUT]: states.tensor(at) };
  const outputs = await layer.run(feeds, { [HIDDEN_OUTPUT]: await states.target(at) });
  states.advance(at, outputs[HIDDEN_OUTPUT]);
  await engine.settle();
}

/** Positions are the same for sequences of one length, and so are masks. */
function rememberPositions(engine: Engine, { description }: StoredModel): (length: number) => Feeds {
  const known = new Map<number, Feeds>();
  return (length) => {
    const feeds = known.get(length) ?? positionFeeds(engine, 0, length, masksOf(description));
    known.set(length, feeds);
    return feeds;
  };
}

interface Comparison extends Disposable {
  /** ‖own − original‖ / ‖original‖ of all hidden states as they are now; null without an original. */
  relativeError(): Promise<number | null>;
}

async function createComparison(
  { engine, model }: QualityRequest,
  [own, other]: readonly Stream[],
): Promise<Comparison> {
  if (!own || !other) {
    return { relativeError: async () => await Promise.resolve(null), [Symbol.dispose]: () => undefined };
  }
  const graph = await engine.onload(
    model,
    differenceGraph(model.description.hiddenSize, rowSize(model.description)),
    1,
  );
  return {
    async relativeError() {
      let [difference, norm] = [0, 0];
      for (const at of own.states.lengths.keys()) {
        const outputs = await graph.run({
          [STATISTICS_INPUTS.own]: own.states.tensor(at),
          [STATISTICS_INPUTS.other]: other.states.tensor(at),
        });
        const sums = floatsOf(outputs[STATISTICS_OUTPUT]);
        for (let row = 0; row < sums.length; row += 2) {
          difference += sums[row] ?? 0;
          norm += sums[row + 1] ?? 0;
        }
      }
      return Math.sqrt(difference / (norm || 1));
    },
    [Symbol.dispose]: () => graph[Symbol.dispose](),
  };
}
