// One sequence through all layers by onnxruntime-web, one onloaded at a time: what another forward pass is held against.

import { rowSize } from "../../model/decoder-description.ts";
import { layerGraph } from "../graph/decoder-graph.ts";
import { firstRows, masksOf, positionFeeds, runLayer, tokenFeeds } from "../run-layer.ts";
import type { Engine } from "../runtime/engine.ts";
import { yieldToMessages } from "../runtime/yield-to-messages.ts";
import type { StoredModel } from "../weights/stored-model.ts";
import { planLinears } from "../weights/weight-values.ts";
import { predictTokens } from "./predict-tokens.ts";
import { lossOf } from "./token-statistics.ts";

export interface WindowRun {
  /** Rows (tokens, hidden + carried) behind each layer. */
  readonly states: readonly Float32Array<ArrayBuffer>[];
  /** Negative log-likelihood of all tokens but the first, in nats. */
  readonly losses: readonly number[];
}

/**
 * Runs the first tokens of a sequence.
 * @param length tokens of the whole sequence, which some rotary embeddings depend on
 * @throws DeviceLimitError if a layer does not fit, an AbortError when it is stopped.
 */
export async function runWindow(
  engine: Engine,
  model: StoredModel,
  { ids, length }: { readonly ids: readonly number[]; readonly length: number },
  signal: AbortSignal,
): Promise<WindowRun> {
  const { description } = model;
  const width = rowSize(description);
  const plan = planLinears(model, engine.maxInputBytes);
  const positions = positionFeeds(engine, 0, ids.length, masksOf(description));
  const states: Float32Array<ArrayBuffer>[] = [];
  let rows = await firstRows(model, ids);
  for (const [index, layer] of description.layers.entries()) {
    await yieldToMessages();
    signal.throwIfAborted();
    using onloaded = await engine.onload(model, layerGraph(description, layer, plan), length);
    const feeds = { ...positions, ...(await tokenFeeds(engine, model, ids, index)) };
    rows = await runLayer(engine, onloaded, rows, { width, feeds });
    states.push(rows);
  }
  const predictions = await predictTokens({ engine, sequences: [ids], signal }, [{ model, rows: [rows] }]);
  return { states, losses: predictions.map(({ own }) => lossOf(own)) };
}
