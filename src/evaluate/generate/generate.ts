// Token by token through onnxruntime-web. A model that fits the budget is one graph with its keys and values cached where the
// weights are; one that does not is run layer by layer, all tokens again for each new one.

import type { Tensor } from "onnxruntime-web";
import { DeviceLimitError } from "../../errors.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import { cacheNames, usesGroupQueryAttention } from "../graph/attention-nodes.ts";
import {
  generationGraph,
  HIDDEN_INPUT,
  headGraph,
  layerGraph,
  LOGITS_OUTPUT,
} from "../graph/decoder-graph.ts";
import { embedOne, floatsOf, maskWindows, positionFeeds, runHead, runLayer } from "../run-layer.ts";
import type { Engine, EngineTensor, OnloadedGraph } from "../runtime/engine.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { planLinears } from "../weights/weight-values.ts";

/** Runs a decoder over growing sequences. */
export interface Decoder extends Disposable {
  readonly weights: "resident" | "layer by layer";
  /** Logits after the last of `ids`, of which the first `known` were given before. */
  next(ids: readonly number[], known: number): Promise<Float32Array<ArrayBuffer>>;
}

/**
 * Onloads a model for sequences of up to `maxTokens` tokens: whole, or layer by layer where it does not fit.
 * @throws DeviceLimitError if not even a layer fits.
 */
export async function openGenerator(engine: Engine, model: StoredModel, maxTokens: number): Promise<Decoder> {
  try {
    return await openResident(engine, model, maxTokens);
  } catch (error) {
    if (!(error instanceof DeviceLimitError)) throw error;
    return layerByLayer(engine, model);
  }
}

async function openResident(engine: Engine, model: StoredModel, maxTokens: number): Promise<Decoder> {
  const { description } = model;
  const isCached = description.layers.every(({ attention }) => usesGroupQueryAttention(attention));
  const plan = planLinears(model, engine.maxInputBytes);
  const built = generationGraph(description, plan, isCached);
  const graph = await engine.onload(model, built, maxTokens);
  if (!isCached) return withoutCache(engine, model, graph);
  const caches = await createCaches(engine, description, maxTokens).catch((error: unknown) => {
    graph[Symbol.dispose]();
    throw error;
  });
  return {
    weights: "resident",
    async next(ids, known) {
      const fresh = ids.slice(known);
      const outputs = await graph.run(
        { ...(await tokenFeeds(engine, model, fresh, known)), ...caches.feeds() },
        { [LOGITS_OUTPUT]: null, ...caches.fetches() },
      );
      caches.keep(outputs);
      return floatsOf(outputs[LOGITS_OUTPUT]);
    },
    [Symbol.dispose]() {
      caches[Symbol.dispose]();
      graph[Symbol.dispose]();
    },
  };
}

/** Attention that is spelled out has no cache: every token sees the whole sequence anew. */
function withoutCache(engine: Engine, model: StoredModel, graph: OnloadedGraph): Decoder {
  return {
    weights: "resident",
    async next(ids) {
      const outputs = await graph.run(await tokenFeeds(engine, model, ids, 0));
      return floatsOf(outputs[LOGITS_OUTPUT]);
    },
    [Symbol.dispose]: () => graph[Symbol.dispose](),
  };
}

async function tokenFeeds(engine: Engine, model: StoredModel, ids: readonly number[], past: number) {
  const { description } = model;
  const windows = description.layers.every(({ attention }) => usesGroupQueryAttention(attention))
    ? []
    : maskWindows(description);
  const hidden = await embedOne(model, ids);
  return {
    ...positionFeeds(engine, past, ids.length, windows),
    [HIDDEN_INPUT]: engine.floats(hidden, [ids.length, description.hiddenSize]),
  };
}

function layerByLayer(engine: Engine, model: StoredModel): Decoder {
  const { description } = model;
  const { hiddenSize } = description;
  const plan = planLinears(model, engine.maxInputBytes);
  return {
    weights: "layer by layer",
    async next(ids) {
      const positions = positionFeeds(engine, 0, ids.length, maskWindows(description));
      let hidden = await embedOne(model, ids);
      for (const layer of description.layers) {
        using onloaded = await engine.onload(model, layerGraph(description, layer, plan), ids.length);
        hidden = await runLayer(engine, onloaded, hidden, { hiddenSize, positions });
      }
      using head = await engine.onload(model, headGraph(description, plan), 1);
      return await runHead(engine, head, hidden.slice(-hiddenSize), hiddenSize);
    },
    [Symbol.dispose]: () => undefined,
  };
}

interface Caches extends Disposable {
  feeds(): Record<string, Tensor>;
  fetches(): Record<string, Tensor | null>;
  /** Takes over what a run gave back. */
  keep(outputs: Readonly<Record<string, Tensor>>): void;
}

/**
 * Keys and values of all layers. On the GPU each run reads and writes one buffer of `maxTokens` in place; in memory a run
 * gives back longer tensors than it was given.
 */
async function createCaches(
  engine: Engine,
  { layers }: DecoderDescription,
  maxTokens: number,
): Promise<Caches> {
  const pairs = layers.flatMap(({ attention }, index) => {
    const names = cacheNames(index);
    const dims = [1, attention.kvHeads, maxTokens, attention.headDim];
    return [
      { past: names.pastKeys, present: names.keys, dims },
      { past: names.pastValues, present: names.values, dims },
    ];
  });
  const tensors = new Map<string, EngineTensor>();
  for (const { past, dims } of pairs) {
    const start = engine.gpu ? dims : dims.with(2, 0);
    tensors.set(past, await engine.zeros(past, start));
  }
  const tensorOf = (name: string) => tensors.get(name)?.tensor;
  const entries = <Value>(each: (pair: (typeof pairs)[number]) => [string, Value | undefined]) =>
    Object.fromEntries(pairs.map(each).filter((entry): entry is [string, Value] => entry[1] !== undefined));
  return {
    feeds: () => entries(({ past }) => [past, tensorOf(past)]),
    fetches: () =>
      engine.gpu
        ? entries(({ past, present }) => [present, tensorOf(past)])
        : Object.fromEntries(pairs.map(({ present }) => [present, null])),
    keep(outputs) {
      if (engine.gpu) return;
      for (const { past, present } of pairs) {
        const tensor = outputs[present];
        if (!tensor) continue;
        tensors.get(past)?.[Symbol.dispose]();
        tensors.set(past, { tensor, [Symbol.dispose]: () => tensor.dispose() });
      }
    },
    [Symbol.dispose]() {
      for (const tensor of tensors.values()) tensor[Symbol.dispose]();
    },
  };
}
