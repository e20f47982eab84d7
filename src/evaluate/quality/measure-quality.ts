// Perplexity of one model, or of an original and its quantized version side by side, by onnxruntime-web: one layer onloaded at a
// time, so that neither model has to fit, hidden states in memory. Where there is a GPU, the forward pass of calibration does this.

import { invariant } from "../../errors.ts";
import { greatestOf } from "../../greatest-of.ts";
import { spreadRows } from "../../formats/weights/spread-rows.ts";
import { rowSize } from "../../model/decoder-description.ts";
import { layerGraph } from "../graph/decoder-graph.ts";
import { masksOf, positionFeeds, runLayer, tokenFeeds } from "../run-layer.ts";
import type { Engine } from "../runtime/engine.ts";
import type { Feeds } from "../runtime/sessions.ts";
import { yieldToMessages } from "../../yield-to-messages.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { planLinears } from "../weights/weight-values.ts";
import { type PhaseClock, startPhaseClock } from "./phase-clock.ts";
import { predictTokens } from "./predict-tokens.ts";
import type { QualityRequest, Stream } from "./quality-request.ts";
import { squaredDifferences } from "./squared-differences.ts";
import { type Totals, totalsOf } from "./token-statistics.ts";

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

/** @throws an AbortError when it is stopped. */
export async function measureQuality(request: QualityRequest): Promise<Quality> {
  const { model, original } = request;
  const { layers } = model.description;
  const clock = startPhaseClock();
  const streams: Stream[] = [];
  for (const each of original ? [model, original] : [model]) {
    const rows = await clock.time("embedding", async () => await embedAll(request, each));
    streams.push({ model: each, rows });
  }
  const errors: LayerError[] = [];
  for (const [index, { name }] of layers.entries()) {
    request.onProgress(index / (layers.length + 1), name);
    for (const stream of streams) await advance(request, stream, index, clock);
    const relativeError = await clock.time(
      "differences",
      async () => await Promise.resolve(compare(streams)),
    );
    if (relativeError !== null) errors.push({ layer: name, relativeError });
  }
  request.onProgress(layers.length / (layers.length + 1), "logits");
  const predictions = await clock.time("predictions", async () => await predictTokens(request, streams));
  return { ...totalsOf(predictions, original !== null), layers: errors, phases: clock.seconds() };
}

async function embedAll(
  { sequences }: QualityRequest,
  model: StoredModel,
): Promise<Float32Array<ArrayBuffer>[]> {
  const { hiddenSize } = model.description;
  const width = rowSize(model.description);
  const embedded = await model.embed(sequences);
  return embedded.map((states) => spreadRows(states, hiddenSize, width));
}

/** Runs all sequences through one layer. */
async function advance(
  { engine, signal, sequences }: QualityRequest,
  { model, rows }: Stream,
  index: number,
  clock: PhaseClock,
): Promise<void> {
  const { description } = model;
  const layer = description.layers[index];
  invariant(layer, "both models have the same layers");
  const width = rowSize(description);
  const built = layerGraph(description, layer, planLinears(model, engine.maxInputBytes));
  const longest = greatestOf(sequences.map(({ length }) => length));
  using onloaded = await clock.time("weights", async () => await engine.onload(model, built, longest));
  const positionsOf = rememberPositions(engine, model);
  for (const [at, ids] of sequences.entries()) {
    await yieldToMessages();
    signal.throwIfAborted();
    const given = await tokenFeeds(engine, model, ids, index);
    const feeds = { ...positionsOf(ids.length), ...given };
    const before = rows[at];
    invariant(before, "the sequence has hidden states");
    rows[at] = await clock.time(
      "layers",
      async () => await runLayer(engine, onloaded, before, { width, feeds }),
    );
  }
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

/** ‖own − original‖ / ‖original‖ of all hidden states as they are now; null without an original. */
function compare([own, other]: readonly Stream[]): number | null {
  if (!own || !other) return null;
  let [difference, norm] = [0, 0];
  for (const [at, rows] of own.rows.entries()) {
    const sums = squaredDifferences(rows, other.rows[at] ?? rows, own.model.description);
    difference += sums.difference;
    norm += sums.norm;
  }
  return Math.sqrt(difference / (norm || 1));
}
