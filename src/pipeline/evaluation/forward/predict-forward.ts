// Final norms and heads over all sequences. The vocabulary is taken in parts, because a head may be larger than a layer, and tokens
// in runs; a few numbers of each token come back.

import { addBias } from "../../../calibrate/forward/add-bias/add-bias.ts";
import { capLogits } from "../../../calibrate/forward/head/logits.ts";
import { PREDICTION_COLUMNS, tokenPredictions } from "../../../calibrate/forward/head/token-predictions.ts";
import { applyNorm } from "../../../calibrate/forward/forward-pass.ts";
import { createLifetime, type Lifetime } from "../../../disposal.ts";
import { invariant } from "../../../errors.ts";
import {
  addComparedPart,
  addPart,
  type ComparedPrediction,
  startPrediction,
} from "../../../evaluate/quality/token-statistics.ts";
import { yieldToMessages } from "../../../yield-to-messages.ts";
import type { FloatDtype } from "../../../formats/numbers/dtype.ts";
import { forwardProduct } from "../../../gpu/matmul/forward-product.ts";
import type { LedgerBuffer } from "../../../gpu/memory.ts";
import { strideOf, tileShape } from "../../../onload/residency.ts";
import type { ForwardServices, ForwardStream } from "./open-forward.ts";
import { rowSize } from "../../../model/decoder-description.ts";
import { rowsDtype } from "./stored-rows.ts";
import { onloadStored, type StoredWeights } from "./stored-weights.ts";

/** Rows of heads come part by part, through a buffer that all parts take turns in. */
const NONE_RESIDENT = { residentBytes: 0, tileBytes: 0 };

/** A model's head, a part of its rows at a time. */
interface Head {
  readonly stream: ForwardStream;
  /** Norm and bias, and how the head's input is rounded. */
  readonly weights: StoredWeights;
  readonly tile: LedgerBuffer;
  readonly dtype: FloatDtype;
  readonly logits: LedgerBuffer;
}

/** Rows of the vocabulary. */
interface Part {
  readonly first: number;
  readonly rows: number;
}

/** Logits of the measured model that are read back whole. */
export interface WatchedLogits {
  readonly tokens: number;
  /** The vocabulary's first ids. */
  readonly ids: number;
  /** Rows (tokens, hidden + carried) behind the last layer, of these tokens at least. */
  readonly states: Float32Array<ArrayBuffer>;
  /** (tokens, ids) */
  readonly values: Float32Array<ArrayBuffer>;
}

interface Asked extends Omit<WatchedLogits, "values"> {
  readonly signal: AbortSignal;
}

export interface Predicted {
  /** Of all tokens but the first of each sequence, in order. */
  readonly predictions: ComparedPrediction[];
  /** As many of those that were asked for as a run has. */
  readonly logits: WatchedLogits;
}

/** Predicts all tokens. */
export async function predictForward(
  services: ForwardServices,
  sequences: readonly (readonly number[])[],
  { signal, states, ...asked }: Asked,
): Promise<Predicted> {
  const { gpu, uploads, readbacks, plan, streams } = services;
  using lifetime = createLifetime();
  const targets = targetsOf(sequences);
  const allocate = async (label: string, bytes: number) =>
    lifetime.use(await gpu.memory.allocate({ label, bytes }));
  const wanted = await allocate("tokens that came", targets.byteLength);
  await uploads.write(new Uint8Array(targets.buffer), wanted);
  const foundBytes = targets.length * PREDICTION_COLUMNS.length * 4;
  const found = await allocate("predictions", foundBytes);
  const heads: Head[] = [];
  for (const { model, ahead } of streams) ahead.begin(model.description.layers.length);
  for (const stream of streams) heads.push(await openHead(services, stream, lifetime));
  const vocabulary = streams[0]?.model.description.vocabSize ?? 0;
  const predictions = Array.from(targets, startPrediction);
  const watched: WatchedLogits[] = [];
  const look = async (head: Head, run: Run) => {
    if (watched.length === 0) watched.push({ ...(await readLogits(services, head, run, asked)), states });
  };
  for (let row = 0; row < vocabulary; row += plan.head.rows) {
    const part = { first: row, rows: Math.min(plan.head.rows, vocabulary - row) };
    for (const head of heads) {
      const { linear } = head.stream.model.description.head;
      const to = { weight: head.tile, stride: strideOf(linear.columns, head.dtype), at: 0 };
      await head.stream.rows.write(linear, row, part.rows, to);
    }
    await eachRun(services, heads, part, { wanted, found, signal, look });
    const bytes = await readbacks.readBytes(found, 0, foundBytes);
    addParts(predictions, { values: new Float32Array(bytes.buffer), targets, part }, heads.length > 1);
  }
  const [logits] = watched;
  invariant(logits, "there is a run");
  return { predictions: withoutLast(predictions, sequences), logits };
}

/** Logits of the first tokens of a run, of the first rows of its part. */
async function readLogits(
  { readbacks }: ForwardServices,
  { logits }: Head,
  { rows, columns, stride }: Run,
  asked: Pick<WatchedLogits, "tokens" | "ids">,
): Promise<Omit<WatchedLogits, "states">> {
  const [tokens, ids] = [Math.min(asked.tokens, rows), Math.min(asked.ids, columns)];
  const values = new Float32Array(tokens * ids);
  for (let token = 0; token < tokens; token++) {
    const bytes = await readbacks.readBytes(logits, token * stride * 4, ids * 4);
    values.set(new Float32Array(bytes.buffer), token * ids);
  }
  return { tokens, ids, values };
}

/** The id after each token; that of the last one of a sequence is of no use, and its own. */
function targetsOf(sequences: readonly (readonly number[])[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(sequences.flatMap((ids) => [...ids.slice(1), ids.at(-1) ?? 0]));
}

function withoutLast(
  predictions: readonly ComparedPrediction[],
  sequences: readonly (readonly number[])[],
): ComparedPrediction[] {
  let first = 0;
  return sequences.flatMap(({ length }) => {
    const own = predictions.slice(first, first + length - 1);
    first += length;
    return own;
  });
}

async function openHead(services: ForwardServices, stream: ForwardStream, lifetime: Lifetime): Promise<Head> {
  const { gpu, plan } = services;
  const { model, rows } = stream;
  const { linear } = model.description.head;
  const dtype = rowsDtype(model, linear);
  const { rowBytes } = tileShape(linear, dtype, Number.POSITIVE_INFINITY);
  const weights = lifetime.use(await onloadStored({ ...services, rows }, model, [linear], NONE_RESIDENT));
  const tile = { label: "rows of the head", bytes: plan.head.rows * rowBytes };
  const logits = { label: "logits", bytes: plan.head.rows * plan.head.tokens * 4 };
  return {
    stream,
    weights,
    dtype,
    tile: lifetime.use(await gpu.memory.allocate(tile)),
    logits: lifetime.use(await gpu.memory.allocate(logits)),
  };
}

/** Logits that are there at once: (rows, columns). */
interface Run {
  readonly rows: number;
  readonly columns: number;
  readonly stride: number;
}

interface Told {
  readonly wanted: LedgerBuffer;
  readonly found: LedgerBuffer;
  /** Called for each run; the first one has the first tokens, and the first rows of the head. */
  readonly look: (own: Head, run: Run) => Promise<void>;
  readonly signal: AbortSignal;
}

/** What a part of the vocabulary says of all tokens, to `found`. */
async function eachRun(
  services: ForwardServices,
  heads: readonly Head[],
  part: Part,
  { wanted, found, signal, look }: Told,
): Promise<void> {
  const { gpu, plan, batches } = services;
  const [own, other] = heads;
  invariant(own, "there is a model");
  const stride = Math.ceil(part.rows / 4) * 4;
  for (const { rows: batch } of batches) {
    await yieldToMessages();
    signal.throwIfAborted();
    for (const { stream } of heads) await stream.states.load(batch, stream.hidden);
    for (let first = 0; first < batch.tokens; first += plan.head.tokens) {
      const rows = Math.min(plan.head.tokens, batch.tokens - first);
      for (const head of heads) await headLogits(services, head, part, { first, rows, stride });
      const run = {
        own: own.logits,
        other: other?.logits ?? null,
        rows,
        columns: part.rows,
        stride,
        firstToken: batch.firstToken + first,
        firstId: part.first,
      };
      await look(own, run);
      await tokenPredictions(gpu, run, wanted, found);
    }
  }
}

/** Logits (rows, stride) of rows of the batch at work. */
async function headLogits(
  { gpu, workspace }: ForwardServices,
  { stream, weights, tile, dtype, logits }: Head,
  part: Part,
  { first, rows, stride }: { readonly first: number; readonly rows: number; readonly stride: number },
): Promise<void> {
  const { description } = stream.model;
  const { head, finalNorm, hiddenSize: columns } = description;
  const width = rowSize(description);
  const hidden = { buffer: stream.hidden, rows, columns, stride: width, offset: first * width };
  const normed = { buffer: workspace.normed, rows, columns, stride: columns };
  await applyNorm({ gpu, weights }, finalNorm, hidden, normed);
  const seen = (await weights.input?.(head.linear.module, normed)) ?? normed;
  await forwardProduct(gpu, {
    m: rows,
    n: part.rows,
    k: columns,
    a: seen,
    b: { buffer: tile, stride: strideOf(columns, dtype) },
    bDtype: dtype,
    c: { buffer: logits, stride },
  });
  if (head.linear.bias !== null) {
    const y = { buffer: logits, rows, columns: part.rows, stride };
    await addBias(gpu, y, await weights.vector(head.linear.bias), 1, { first: part.first, step: 1 });
  }
  if (head.scale !== 1 || head.softCap !== null) await capLogits(gpu, logits, rows * stride, head);
}

interface FoundPart {
  /** `PREDICTION_COLUMNS` of each token. */
  readonly values: Float32Array;
  readonly targets: Uint32Array;
  readonly part: Part;
}

function addParts(
  predictions: readonly ComparedPrediction[],
  { values, targets, part }: FoundPart,
  compared: boolean,
): void {
  const width = PREDICTION_COLUMNS.length;
  for (const [token, prediction] of predictions.entries()) {
    const value = (name: (typeof PREDICTION_COLUMNS)[number]) =>
      values[token * width + PREDICTION_COLUMNS.indexOf(name)] ?? Number.NaN;
    const id = targets[token] ?? 0;
    const isHere = id >= part.first && id < part.first + part.rows;
    const own = { largest: value("largest"), sum: value("sum"), target: isHere ? value("target") : null };
    if (!compared) {
      addPart(prediction.own, own);
      continue;
    }
    const other = {
      largest: value("otherLargest"),
      sum: value("otherSum"),
      target: isHere ? value("otherTarget") : null,
    };
    const [difference, ownAtOtherBest] = [value("difference"), value("ownAtOtherBest")];
    addComparedPart(prediction, { own, other, difference, ownAtOtherBest });
  }
}
