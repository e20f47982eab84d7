// Perplexity of one model, or of an original and its quantized version side by side, one layer onloaded at a time: hidden
// states wait on the CPU, so that neither model has to fit.

import type { DecoderDescription } from "../../model/decoder-description.ts";
import { headGraph, layerGraph } from "../graph/decoder-graph.ts";
import { maskWindows, positionFeeds, runHead, runLayer } from "../run-layer.ts";
import type { Engine } from "../runtime/engine.ts";
import { yieldToMessages } from "../runtime/yield-to-messages.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { planLinears } from "../weights/weight-values.ts";
import {
  addDivergence,
  addLosses,
  type Divergence,
  noDivergence,
  noLosses,
  type TokenLosses,
} from "./token-losses.ts";

/** Logits are made for so many bytes of tokens at a time. */
const LOGITS_BYTES = 64 * 1024 ** 2;

export interface LayerError {
  readonly layer: string;
  /** ‖quantized − original‖ / ‖original‖ of the hidden states after the layer. */
  readonly relativeError: number;
}

export interface Quality {
  readonly original: TokenLosses | null;
  readonly model: TokenLosses;
  readonly divergence: Divergence | null;
  readonly layers: readonly LayerError[];
}

export interface QualityRequest {
  readonly engine: Engine;
  /** What is measured. */
  readonly model: StoredModel;
  /** What it is measured against, or null. */
  readonly original: StoredModel | null;
  /** Token ids; each sequence is run by itself. */
  readonly sequences: readonly (readonly number[])[];
  readonly signal: AbortSignal;
  /** Called with the part that is done, 0 to 1, and what is at work. */
  onProgress(done: number, what: string): void;
}

/** A model with the hidden states of all sequences. */
interface Stream {
  readonly model: StoredModel;
  hidden: Float32Array<ArrayBuffer>[];
}

export async function measureQuality(request: QualityRequest): Promise<Quality> {
  const { model, original, sequences } = request;
  const streams = await Promise.all(
    [model, ...(original ? [original] : [])].map(async (each): Promise<Stream> => {
      const hidden: Float32Array<ArrayBuffer>[] = [];
      for (const ids of sequences) hidden.push(await each.embed(ids));
      return { model: each, hidden };
    }),
  );
  const [own, other] = streams;
  const layers: LayerError[] = [];
  for (const [index, layer] of model.description.layers.entries()) {
    request.onProgress(index / (model.description.layers.length + 1), layer.name);
    for (const stream of streams) await advance(request, stream, index);
    if (own && other) {
      layers.push({ layer: layer.name, relativeError: relativeError(own.hidden, other.hidden) });
    }
  }
  request.onProgress(model.description.layers.length / (model.description.layers.length + 1), "logits");
  return { ...(await predict(request, streams)), layers };
}

/** Runs all sequences through one layer. */
async function advance(request: QualityRequest, stream: Stream, index: number): Promise<void> {
  const { engine, sequences, signal } = request;
  const { description } = stream.model;
  const layer = description.layers[index];
  if (!layer) throw new Error("Defect: both models have the same layers");
  const longest = Math.max(...sequences.map((ids) => ids.length));
  const plan = planLinears(stream.model, engine.maxInputBytes);
  using onloaded = await engine.onload(stream.model, layerGraph(description, layer, plan), longest);
  const { hiddenSize } = description;
  for (const [at, hidden] of stream.hidden.entries()) {
    await yieldToMessages();
    signal.throwIfAborted();
    const positions = positionFeeds(engine, 0, hidden.length / hiddenSize, maskWindows(description));
    stream.hidden[at] = await runLayer(engine, onloaded, hidden, { hiddenSize, positions });
  }
}

type Predictions = Pick<Quality, "original" | "model" | "divergence">;

/** Final norms, heads, and what the logits say. */
async function predict(request: QualityRequest, streams: readonly Stream[]): Promise<Predictions> {
  const { engine, sequences, signal } = request;
  using heads = await onloadHeads(engine, streams);
  const totals = { model: noLosses(), original: noLosses(), divergence: noDivergence() };
  for (const [at, ids] of sequences.entries()) {
    for (const { first, targets } of chunks(ids, streams[0]?.model.description)) {
      await yieldToMessages();
      signal.throwIfAborted();
      const logits: Float32Array[] = [];
      for (const [index, { model, hidden }] of streams.entries()) {
        const { hiddenSize } = model.description;
        const rows = hidden[at]?.slice(first * hiddenSize, (first + targets.length) * hiddenSize);
        const head = heads.graphs[index];
        if (rows && head) logits.push(await runHead(engine, head, rows, hiddenSize));
      }
      const [own, other] = logits;
      if (own) addLosses(totals.model, own, targets);
      if (other) addLosses(totals.original, other, targets);
      if (own && other) addDivergence(totals.divergence, other, own, targets.length);
    }
  }
  const isCompared = streams.length > 1;
  return {
    model: totals.model,
    original: isCompared ? totals.original : null,
    divergence: isCompared ? totals.divergence : null,
  };
}

async function onloadHeads(engine: Engine, streams: readonly Stream[]) {
  const graphs: Awaited<ReturnType<Engine["onload"]>>[] = [];
  const dispose = () => {
    for (const graph of graphs) graph[Symbol.dispose]();
  };
  try {
    for (const { model } of streams) {
      const plan = planLinears(model, engine.maxInputBytes);
      graphs.push(await engine.onload(model, headGraph(model.description, plan), 1));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { graphs, [Symbol.dispose]: dispose };
}

/** Runs of a sequence's tokens that predict the next one. */
function* chunks(ids: readonly number[], description: DecoderDescription | undefined) {
  const rows = Math.max(1, Math.floor(LOGITS_BYTES / (4 * (description?.vocabSize ?? 1))));
  for (let first = 0; first + 1 < ids.length; first += rows) {
    yield { first, targets: ids.slice(first + 1, Math.min(first + rows, ids.length - 1) + 1) };
  }
}

function relativeError(actual: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let [difference, norm] = [0, 0];
  for (const [at, values] of expected.entries()) {
    const other = actual[at] ?? new Float32Array();
    for (let index = 0; index < values.length; index++) {
      const value = values[index] ?? 0;
      difference += ((other[index] ?? 0) - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(difference / (norm || 1));
}
