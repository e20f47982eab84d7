// Token by token through onnxruntime-web. A model that fits the budget is one graph with its keys and values cached where the
// weights are; one that does not is run layer by layer, all tokens again for each new one.

import { DeviceLimitError, firstCause, invariant, UnsupportedModelError } from "../../errors.ts";
import { layerLinears } from "../../model/layer-linears.ts";
import { mixersOf } from "../graph/mixers/nodes-of.ts";
import {
  canLookUp,
  generationGraph,
  HIDDEN_INPUT,
  IDS_INPUT,
  headGraph,
  layerGraph,
  LOGITS_OUTPUT,
} from "../graph/decoder-graph.ts";
import {
  embedOne,
  firstRows,
  floatsOf,
  masksOf,
  positionFeeds,
  runHead,
  runLayer,
  tokenFeeds,
} from "../run-layer.ts";
import { rowSize } from "../../model/decoder-description.ts";
import type { Engine, OnloadedGraph } from "../runtime/engine.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { vocabularyParts } from "../weights/vocabulary-parts.ts";
import { planLinears } from "../weights/weight-values.ts";
import { type Caches, createCaches } from "./caches.ts";
import { canCapture, type CapturedStep, openCapturedStep } from "./captured-step.ts";

/** A graph of more Linears, such as those of many experts, takes longer to make than layers take to run. */
const MAX_RESIDENT_LINEARS = 4096;

/** Runs a decoder over growing sequences. */
export interface Decoder extends Disposable {
  readonly weights: "resident" | "layer by layer";
  /** True as long as single tokens are run by recorded commands. */
  isCaptured(): boolean;
  /** Logits after the last of `ids`, of which the first `known` were given before. */
  next(ids: readonly number[], known: number): Promise<Float32Array<ArrayBuffer>>;
}

/**
 * Onloads a model for sequences of up to `maxTokens` tokens: whole, or layer by layer where it does not fit.
 * @throws DeviceLimitError if not even a layer fits, UnsupportedModelError if its graphs do not compute as many tokens.
 */
export async function openGenerator(engine: Engine, model: StoredModel, maxTokens: number): Promise<Decoder> {
  const most = Math.min(...mixersOf(model.description.layers).map((mixer) => mixer.maxTokens));
  if (maxTokens > most) {
    throw new UnsupportedModelError(
      `The text and what is to follow come to ${maxTokens} tokens; models of the type ${model.description.family} are tried with up to ${most} here. Take a shorter text, or fewer new tokens.`,
    );
  }
  if (model.description.layers.flatMap(layerLinears).length > MAX_RESIDENT_LINEARS) {
    return await layerByLayer(engine, model);
  }
  try {
    return await openResident(engine, model, maxTokens);
  } catch (error) {
    if (!(firstCause(error) instanceof DeviceLimitError)) throw error;
    return await layerByLayer(engine, model);
  }
}

async function openResident(engine: Engine, model: StoredModel, maxTokens: number): Promise<Decoder> {
  const { description } = model;
  const isCached = mixersOf(description.layers).every(({ cache }) => cache !== null);
  const plan = planLinears(model, engine.maxInputBytes);
  const built = generationGraph(description, plan, isCached);
  model.announce?.(-1, Number.POSITIVE_INFINITY);
  if (!isCached) return withoutCache(engine, model, await engine.onload(model, built, maxTokens));
  const made: Caches[] = [];
  const create = async () => void made.push(await createCaches(engine, description, maxTokens));
  const beside = async () => await engine.clock.time("caches", create);
  try {
    const graph = await engine.onload(model, built, maxTokens, beside);
    const [caches] = made;
    invariant(caches, "caches are made beside the weights");
    return withCache({ engine, model, graph, caches }, canCapture(engine, description, maxTokens));
  } catch (error) {
    for (const caches of made) caches[Symbol.dispose]();
    throw error;
  }
}

interface Resident {
  readonly engine: Engine;
  readonly model: StoredModel;
  readonly graph: OnloadedGraph;
  readonly caches: Caches;
}

/** Prompts run operator by operator; single tokens after them by recorded commands, where that works. */
function withCache({ engine, model, graph, caches }: Resident, capturable: boolean): Decoder {
  let isCaptured = capturable;
  let step: CapturedStep | null = null;
  const runCaptured = async (ids: readonly number[]) => {
    try {
      step ??= await openCapturedStep(engine, model, graph, caches);
      return await step.next(ids.at(-1) ?? 0, ids.length - 1);
    } catch {
      // What the runtime cannot record it can still run, and a token that is run twice writes the same values.
      isCaptured = false;
      return null;
    }
  };
  const run = async (ids: readonly number[], known: number) => {
    const outputs = await graph.run(
      { ...(await feedsOf(engine, model, ids.slice(known), known)), ...caches.feeds() },
      { [LOGITS_OUTPUT]: null, ...caches.fetches() },
    );
    caches.keep(outputs);
    return floatsOf(outputs[LOGITS_OUTPUT]);
  };
  return {
    weights: "resident",
    isCaptured: () => isCaptured,
    async next(ids, known) {
      const isOneMore = isCaptured && known > 0 && known === ids.length - 1;
      return (isOneMore ? await runCaptured(ids) : null) ?? (await run(ids, known));
    },
    [Symbol.dispose]() {
      step?.[Symbol.dispose]();
      caches[Symbol.dispose]();
      graph[Symbol.dispose]();
    },
  };
}

/** A mixer without a cache, such as attention that is spelled out: every token sees the whole sequence anew. */
function withoutCache(engine: Engine, model: StoredModel, graph: OnloadedGraph): Decoder {
  return {
    weights: "resident",
    isCaptured: () => false,
    async next(ids) {
      const outputs = await graph.run(await feedsOf(engine, model, ids, 0));
      return floatsOf(outputs[LOGITS_OUTPUT]);
    },
    [Symbol.dispose]: () => graph[Symbol.dispose](),
  };
}

async function feedsOf(engine: Engine, model: StoredModel, ids: readonly number[], past: number) {
  const { description } = model;
  const positions = {
    ...positionFeeds(engine, past, ids.length, masksOf(description)),
    ...(await tokenFeeds(engine, model, ids, null)),
  };
  if (canLookUp(description, planLinears(model, engine.maxInputBytes))) {
    return {
      ...positions,
      [IDS_INPUT]: new engine.runtime.Tensor("int32", Int32Array.from(ids), [ids.length]),
    };
  }
  const hidden = await embedOne(model, ids);
  return { ...positions, [HIDDEN_INPUT]: engine.floats(hidden, [ids.length, description.hiddenSize]) };
}

async function layerByLayer(engine: Engine, model: StoredModel): Promise<Decoder> {
  await engine.ready();
  const { description } = model;
  const { vocabSize } = description;
  const width = rowSize(description);
  const plan = planLinears(model, engine.maxInputBytes);
  return {
    weights: "layer by layer",
    isCaptured: () => false,
    async next(ids) {
      const positions = positionFeeds(engine, 0, ids.length, masksOf(description));
      let rows = await firstRows(model, ids);
      for (const [index, layer] of description.layers.entries()) {
        using onloaded = await engine.onload(model, layerGraph(description, layer, plan), ids.length);
        const feeds = { ...positions, ...(await tokenFeeds(engine, model, ids, index)) };
        rows = await runLayer(engine, onloaded, rows, { width, feeds });
      }
      const logits = new Float32Array(vocabSize);
      for (const part of vocabularyParts(engine, description)) {
        using head = await engine.onload(model, headGraph(description, plan, part), 1);
        logits.set(await runHead(engine, head, rows.slice(-width), width), part.firstRow);
      }
      return logits;
    },
    [Symbol.dispose]: () => undefined,
  };
}
