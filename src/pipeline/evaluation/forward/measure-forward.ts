// Perplexity of one model, or of an original and its quantized version side by side, by the forward pass that calibration runs:
// one layer onloaded at a time, all sequences through it in batches.

import type { SequenceBatch } from "../../../calibrate/batches.ts";
import { forwardLayer } from "../../../calibrate/forward/forward-layer.ts";
import { createLifetime } from "../../../disposal.ts";
import { invariant } from "../../../errors.ts";
import type { LayerError, Quality } from "../../../evaluate/quality/measure-quality.ts";
import { startPhaseClock } from "../../../evaluate/quality/phase-clock.ts";
import { totalsOf } from "../../../evaluate/quality/token-statistics.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { yieldToMessages } from "../../../yield-to-messages.ts";
import { rowDifferences } from "../../../gpu/elements/row-differences.ts";
import { rowSize } from "../../../model/decoder-description.ts";
import { layerLinears } from "../../../model/layer-linears.ts";
import { eachBatch } from "../../sequential/passes/each-batch.ts";
import { type ForwardInputs, type ForwardServices, type ForwardStream, openForward } from "./open-forward.ts";
import { predictForward, type WatchedLogits } from "./predict-forward.ts";
import { onloadStored, type StoredWeights } from "./stored-weights.ts";

/** Rows of the head that come first are kept for the watched logits: a piece of them. */
const KEPT_HEAD_BYTES = 64 * 1024 ** 2;

export interface ForwardRequest extends ForwardInputs {
  /** What is kept for another engine to compute once more. */
  readonly watch: Watch;
  readonly signal: AbortSignal;
  /** Called with the part that is done, 0 to 1, and what is at work. */
  onProgress(done: number, what: string): void;
}

/** A sample of a forward pass. */
export interface Watch {
  /** So many first tokens of the first sequence. */
  readonly tokens: number;
  /** Layers before and behind which their rows are kept. */
  readonly layers: readonly number[];
  /** Tokens, and first ids of the vocabulary, whose logits are kept. */
  readonly logits: { readonly tokens: number; readonly ids: number };
  /** Bytes of those layers that are kept, so that they need not be read again. */
  readonly weightBytes: number;
}

export interface ForwardQuality extends Quality {
  readonly watched: WatchedTokens;
}

/** What the measured model makes of the watched tokens. */
export interface WatchedTokens {
  readonly ids: readonly number[];
  readonly layers: readonly WatchedLayer[];
  readonly logits: WatchedLogits;
  /** The model, which has the watched layers' weights at hand. */
  readonly model: StoredModel;
}

/** Rows (tokens, hidden + carried) before and behind a layer. */
export interface WatchedLayer {
  readonly index: number;
  readonly before: Float32Array<ArrayBuffer>;
  readonly behind: Float32Array<ArrayBuffer>;
}

/** @throws DeviceLimitError if the budget holds no batch, an AbortError when it is stopped. */
export async function measureForward(request: ForwardRequest): Promise<ForwardQuality> {
  const { model, original, sequences, signal } = request;
  const { layers } = model.description;
  const clock = startPhaseClock();
  using lifetime = createLifetime();
  const services = await clock.time("embedding", async () => await openForward(request, lifetime));
  const errors: LayerError[] = [];
  const watched: WatchedLayer[] = [];
  for (const [index, { name }] of layers.entries()) {
    request.onProgress(index / (layers.length + 1), name);
    const isWatched = request.watch.layers.includes(index);
    const read = async () =>
      await clock.time("differences", async () => await readWatched(request, services));
    const before = isWatched ? await read() : null;
    services.kept.keep(isWatched ? request.watch.weightBytes / request.watch.layers.length : 0);
    for (const stream of services.streams) {
      using weights = await clock.time("weights", async () => await onloadLayer(services, stream, index));
      await clock.time("layers", async () => await runLayer(services, stream, { weights, index, signal }));
    }
    if (before) watched.push({ index, before, behind: await read() });
    const differences = async () => await readDifferences(services);
    if (original) {
      errors.push({ layer: name, relativeError: await clock.time("differences", differences) });
    }
  }
  request.onProgress(layers.length / (layers.length + 1), "logits");
  const { logits } = request.watch;
  const { predictions, ...found } = await clock.time("predictions", async () => {
    const states = await readWatched(request, services);
    await services.gpu.queue.idle();
    services.rooms[Symbol.dispose]();
    services.kept.keep(KEPT_HEAD_BYTES);
    const tokens = Math.min(logits.tokens, states.length / rowSize(model.description));
    return await predictForward(services, sequences, { ...logits, tokens, states, signal });
  });
  return {
    ...totalsOf(predictions, original !== null),
    layers: errors,
    phases: clock.seconds(),
    watched: {
      ids: sequences[0]?.slice(0, request.watch.tokens) ?? [],
      layers: watched,
      logits: found.logits,
      model: services.kept.over(model),
    },
  };
}

async function onloadLayer(
  services: ForwardServices,
  { model, rows, ahead }: ForwardStream,
  index: number,
): Promise<StoredWeights> {
  const layer = model.description.layers[index];
  invariant(layer, "both models have the same layers");
  const { residency, readsOnce } = services.plan;
  const weights = await onloadStored({ ...services, rows }, model, layerLinears(layer), residency);
  // What is streamed comes while the layer is computed: only then is it the next one's turn.
  ahead.begin(readsOnce ? index + 1 : index);
  return weights;
}

/** Runs all sequences through one layer, and compares what the last of two models makes of them. */
async function runLayer(
  services: ForwardServices,
  stream: ForwardStream,
  work: { readonly weights: StoredWeights; readonly index: number; readonly signal: AbortSignal },
): Promise<void> {
  const { gpu, workspace, batches, streams, plan } = services;
  const { states, hidden, tables, model } = stream;
  const { weights, index, signal } = work;
  const layer = model.description.layers[index];
  invariant(layer, "both models have the same layers");
  const given = tables ? { tokenTable: await tables.of(index) } : {};
  await eachBatch({ batches, hidden: [hidden], states }, async ({ rows, tokens }) => {
    await yieldToMessages();
    signal.throwIfAborted();
    await forwardLayer({ gpu, weights, workspace, batch: tokens, ...given }, layer, hidden);
    if (stream !== streams[0]) await compare(services, rows);
    return async (free) => await states.save(rows, hidden, false, free);
  });
  // Weights that stay leave their room to the next ones, which may come meanwhile; what others came through is given up.
  await (plan.readsOnce ? gpu.queue.flush() : gpu.queue.idle());
}

/** The measured model's states of a batch against those that the original has at work. */
async function compare(
  { gpu, streams: [own, other], differences }: ForwardServices,
  batch: SequenceBatch,
): Promise<void> {
  invariant(own && other, "two models are compared");
  const { hiddenSize: columns } = own.model.description;
  await own.states.load(batch, own.hidden);
  const shape = { rows: batch.tokens, columns, stride: rowSize(own.model.description) };
  await rowDifferences(gpu, { a: own.hidden, b: other.hidden }, shape, differences, batch.firstToken);
}

/** ‖own − original‖ / ‖original‖ of all hidden states. */
async function readDifferences({ readbacks, differences }: ForwardServices): Promise<number> {
  const sums = new Float32Array((await readbacks.readBytes(differences)).buffer);
  let [difference, norm] = [0, 0];
  for (let row = 0; row < sums.length; row += 2) {
    difference += sums[row] ?? 0;
    norm += sums[row + 1] ?? 0;
  }
  return Math.sqrt(difference / (norm || 1));
}

/** The watched tokens' rows, which are the first of the first batch. */
async function readWatched(
  { watch }: ForwardRequest,
  { readbacks, batches, streams: [own] }: ForwardServices,
): Promise<Float32Array<ArrayBuffer>> {
  const [first] = batches;
  invariant(own && first, "there is a batch");
  const tokens = Math.min(watch.tokens, first.rows.starts[1] ?? 0);
  await own.states.load(first.rows, own.hidden);
  const bytes = await readbacks.readBytes(own.hidden, 0, tokens * rowSize(own.model.description) * 4);
  return new Float32Array(bytes.buffer);
}
