// Runs of onloaded graphs over one sequence: what a run needs beside weights and hidden states.

import type { Tensor } from "onnxruntime-web";
import { mixersOf } from "./graph/mixers/nodes-of.ts";
import { HIDDEN_INPUT, HIDDEN_OUTPUT, LOGITS_OUTPUT, TOKEN_RANGE } from "./graph/decoder-graph.ts";
import type { Engine, OnloadedGraph } from "./runtime/engine.ts";
import type { Feeds } from "./runtime/sessions.ts";
import { spreadRows } from "../formats/weights/spread-rows.ts";
import { type DecoderDescription, rowSize } from "../model/decoder-description.ts";
import { TOKEN_INPUTS } from "./graph/token-nodes.ts";
import { invariant } from "../errors.ts";
import type { StoredModel } from "./weights/stored-model.ts";
import { maskName, type MaskShape, RUN_INPUTS } from "./graph/run-inputs.ts";

/** Large enough to vanish in a softmax, small enough to stay finite after an addition. */
const MASKED = -1e30;

/** Positions of a run of `tokens` tokens after `past` others; causal masks of the shapes in `masks`. */
export function positionFeeds(
  { runtime }: Engine,
  past: number,
  tokens: number,
  masks: readonly MaskShape[] = [],
): Feeds {
  const total = past + tokens;
  return {
    [RUN_INPUTS.position]: new runtime.Tensor("int64", BigInt64Array.of(BigInt(past)), [1]),
    [RUN_INPUTS.lastPosition]: new runtime.Tensor("int32", Int32Array.of(total - 1), [1]),
    [RUN_INPUTS.total]: new runtime.Tensor("int32", Int32Array.of(total), []),
    ...Object.fromEntries(
      masks.map((shape) => [
        maskName(shape),
        new runtime.Tensor("float32", maskOf(tokens, shape), [tokens, tokens]),
      ]),
    ),
  };
}

/** The shapes of masks that the decoder's mixers ask for, each once. */
export function masksOf({ layers }: DecoderDescription): MaskShape[] {
  const asked = mixersOf(layers).flatMap(({ mask }) => mask ?? []);
  return [...new Map(asked.map((shape) => [maskName(shape), shape])).values()];
}

function maskOf(tokens: number, shape: MaskShape): Float32Array<ArrayBuffer> {
  return shape === "levels" ? levels(tokens) : causalMask(tokens, shape);
}

function levels(tokens: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: tokens * tokens }, (_, at) => {
    const [row, column] = [Math.floor(at / tokens), at % tokens];
    if (row === column) return -2;
    return row < column ? -1 : 31 - Math.clz32(row ^ column);
  });
}

function causalMask(
  tokens: number,
  { slidingWindow, chunk }: Exclude<MaskShape, "levels">,
): Float32Array<ArrayBuffer> {
  const mask = new Float32Array(tokens * tokens).fill(MASKED);
  for (let row = 0; row < tokens; row++) {
    const inWindow = slidingWindow === null ? 0 : row - slidingWindow + 1;
    const inChunk = chunk === null ? 0 : row - (row % chunk);
    const first = Math.max(0, inWindow, inChunk);
    mask.fill(0, row * tokens + first, row * tokens + row + 1);
  }
  return mask;
}

/** First hidden states of one sequence, (ids, hidden). */
export async function embedOne(
  model: StoredModel,
  ids: readonly number[],
): Promise<Float32Array<ArrayBuffer>> {
  const [hidden] = await model.embed([ids]);
  invariant(hidden, "one sequence gives one run of hidden states");
  return hidden;
}

/** First rows of one sequence, (ids, hidden + carried), as they go through layers one by one. */
export async function firstRows(
  model: StoredModel,
  ids: readonly number[],
): Promise<Float32Array<ArrayBuffer>> {
  const { description } = model;
  return spreadRows(await embedOne(model, ids), description.hiddenSize, rowSize(description));
}

/** What graphs with token blocks are fed beside hidden states: of one layer, or of all in a graph of the whole decoder. */
export async function tokenFeeds(
  engine: Engine,
  model: StoredModel,
  ids: readonly number[],
  layer: number | null,
): Promise<Feeds> {
  const { tokenInputs, hiddenSize } = model.description;
  if (!tokenInputs) return {};
  const rows = await model.tokenRows(ids, layer);
  const fed = { [TOKEN_INPUTS.rows]: engine.floats(rows, [ids.length, rows.length / ids.length]) };
  if (layer === null) return fed;
  const embedded = await embedOne(model, ids);
  return { ...fed, [TOKEN_INPUTS.embedded]: engine.floats(embedded, [ids.length, hiddenSize]) };
}

/** Rows (tokens, width) of one sequence through a layer. */
export async function runLayer(
  engine: Engine,
  layer: OnloadedGraph,
  rows: Float32Array<ArrayBuffer>,
  { width, feeds }: { readonly width: number; readonly feeds: Feeds },
): Promise<Float32Array<ArrayBuffer>> {
  const dims = [rows.length / width, width];
  const outputs = await layer.run({ ...feeds, [HIDDEN_INPUT]: engine.floats(rows, dims) });
  return floatsOf(outputs[HIDDEN_OUTPUT]);
}

/** Logits (tokens, vocabulary) of rows (tokens, width). */
export async function runHead(
  engine: Engine,
  head: OnloadedGraph,
  hidden: Float32Array<ArrayBuffer>,
  width: number,
): Promise<Float32Array<ArrayBuffer>> {
  const tokens = hidden.length / width;
  const outputs = await head.run({
    ...tokenRange(engine, 0, tokens),
    [HIDDEN_INPUT]: engine.floats(hidden, [tokens, width]),
  });
  return floatsOf(outputs[LOGITS_OUTPUT]);
}

/** The tokens that a head is applied to. */
export function tokenRange({ runtime }: Engine, first: number, end: number): Feeds {
  return {
    [TOKEN_RANGE.first]: new runtime.Tensor("int64", BigInt64Array.of(BigInt(first)), [1]),
    [TOKEN_RANGE.end]: new runtime.Tensor("int64", BigInt64Array.of(BigInt(end)), [1]),
  };
}

/** The values of an output that lies on the CPU; they are copied, and the output is let go. */
export function floatsOf(tensor: Tensor | undefined): Float32Array<ArrayBuffer> {
  if (!(tensor?.data instanceof Float32Array)) throw new Error("Defect: the output is float32");
  const values = tensor.data.slice();
  tensor.dispose();
  return values;
}
