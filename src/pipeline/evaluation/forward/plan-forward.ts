// How the forward passes of an evaluation fit their GPU budget: tokens a batch, weights resident or streamed, hidden states on the
// GPU or in host memory, and which part of the head's logits is there at once.

import { makeBatches, mostTokens, type SequenceBatch } from "../../../calibrate/batches.ts";
import { planWorkspace } from "../../../calibrate/forward/plan-workspace.ts";
import { batchBytes } from "../../../calibrate/forward/token-batch.ts";
import { tokenTablesBytes } from "../../../calibrate/forward/token-inputs/token-inputs.ts";
import type { WorkspacePlan } from "../../../calibrate/forward/workspace.ts";
import { DeviceLimitError } from "../../../errors.ts";
import { greatestOf } from "../../../greatest-of.ts";
import type { StoredModel } from "../../../evaluate/weights/stored-model.ts";
import { formatBytes } from "../../../formats/text/format-bytes.ts";
import { bufferBytes } from "../../../gpu/memory.ts";
import { QUEUE_BYTES } from "../../../gpu/queue/paced-queue.ts";
import { readbackRingBytes } from "../../../gpu/staging/readback-ring.ts";
import { ringBytes, type RingSize } from "../../../gpu/staging/ring-pieces.ts";
import { describedTensors } from "../../../model/check-tensors.ts";
import { rowSize } from "../../../model/decoder-description.ts";
import { layerLinears } from "../../../model/layer-linears.ts";
import { fitResidency, residentBytes, type Residency, strideOf } from "../../../onload/residency.ts";
import { batchHiddenBytes, type GpuLimits } from "../../calibration/costs/calibration-memory.ts";
import { stagingBytes } from "./stored-rows.ts";
import { dtypesOf, roundsInput } from "./stored-weights.ts";

const MIB = 1024 ** 2;
const TOKEN_STEPS = [8192, 4096, 2048, 1024, 512, 256, 128] as const;
const MLP_STEPS = [4096, 1024, 256, 64] as const;
const STREAM_STEPS = [64 * MIB, 16 * MIB, 4 * MIB, MIB, MIB / 16] as const;
const RING_PIECES = 2;
const MAX_PIECE_BYTES = 16 * MIB;
const MIN_PIECE_BYTES = 64 * 1024;
/** Logits of a run of tokens take at most so much, of each model. */
const MAX_LOGITS_BYTES = 1024 * MIB;
const HEAD_TOKENS = 2048;
const HEAD_ROWS = 8192;
/** Parts of the vocabulary are cut at whole tiles of the matrix product. */
const ROW_MULTIPLE = 64;

export interface ForwardPlan {
  readonly batches: readonly SequenceBatch[];
  readonly workspace: WorkspacePlan;
  readonly ring: RingSize;
  /** What room a layer's weights have. */
  readonly residency: Residency;
  /** True if a layer's weights are read once; else those that are streamed come anew for each batch. */
  readonly readsOnce: boolean;
  readonly hiddenPlace: "gpu" | "host";
  /** Bytes of a Linear's rounded input; 0 where none is rounded. */
  readonly roundedBytes: number;
  readonly head: HeadPlan;
}

export interface HeadPlan {
  /** Rows of the head at once. */
  readonly rows: number;
  /** Tokens whose logits for those rows are there at once. */
  readonly tokens: number;
}

/** What is to be computed: models of one shape, and sequences. */
export interface ForwardDemand {
  readonly models: readonly StoredModel[];
  readonly lengths: readonly number[];
  /** Different ids among the sequences. */
  readonly ids: number;
}

/**
 * Plans forward passes: the largest batch beside which a layer's weights stay on the GPU, else the largest that fits at all.
 * @throws DeviceLimitError if none does
 */
export function planForward(demand: ForwardDemand, limits: GpuLimits): ForwardPlan {
  let streamed: ForwardPlan | null = null;
  for (const sizes of batchSizes(demand.lengths)) {
    const found = tryFit(demand, sizes, limits);
    if (found?.isResident) return found.plan;
    streamed ??= found?.plan ?? null;
  }
  if (streamed) return streamed;
  throw new DeviceLimitError(
    `The GPU budget of ${formatBytes(limits.budgetBytes)} is too small to run this model's layers over sequences of ${greatestOf(demand.lengths)} tokens. Choose a larger budget, or shorter sequences.`,
  );
}

/** The longest windows, of at most `wanted` tokens, that are planned for. */
export function longestPlanned(models: readonly StoredModel[], wanted: number, limits: GpuLimits): number {
  for (let length = wanted; length > 2; length = Math.ceil(length / 2)) {
    if (fits({ models, lengths: [length], ids: length }, limits)) return length;
  }
  return 2;
}

function fits(demand: ForwardDemand, limits: GpuLimits): boolean {
  try {
    planForward(demand, limits);
    return true;
  } catch (error) {
    if (error instanceof DeviceLimitError) return false;
    throw error;
  }
}

interface BatchSizes {
  readonly maxTokens: number;
  readonly mlpTokens: number;
}

function* batchSizes(lengths: readonly number[]): Generator<BatchSizes> {
  const longest = greatestOf(lengths);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  for (const maxTokens of new Set(TOKEN_STEPS.map((step) => Math.min(Math.max(step, longest), total)))) {
    for (const mlpTokens of new Set([maxTokens, ...MLP_STEPS.map((step) => Math.min(step, maxTokens))])) {
      yield { maxTokens, mlpTokens };
    }
  }
}

function tryFit(demand: ForwardDemand, sizes: BatchSizes, limits: GpuLimits) {
  try {
    return fit(demand, sizes, limits);
  } catch (error) {
    // A batch that no buffer of this GPU holds: a smaller one is among the other sizes.
    if (error instanceof DeviceLimitError) return null;
    throw error;
  }
}

function fit(demand: ForwardDemand, { maxTokens, mlpTokens }: BatchSizes, limits: GpuLimits) {
  const { models, lengths } = demand;
  const batches = makeBatches(lengths, maxTokens);
  const tokens = mostTokens(batches);
  const layers = models.flatMap(({ description }) => description.layers);
  const { maxBufferBytes } = limits;
  const longest = greatestOf(lengths);
  const workspace = planWorkspace(layers, { tokens, longest, maxBufferBytes, mlpTokens });
  const roundedBytes = inputBytes(models, tokens);
  if (roundedBytes > maxBufferBytes) return null;
  const ring = ringOf(limits);
  const fixed =
    QUEUE_BYTES +
    ringBytes(ring) +
    readbackRingBytes(ring) +
    workspace.bytes +
    (roundedBytes > 0 ? bufferBytes(roundedBytes) : 0) +
    tokenBytes(demand, batches, limits) +
    Math.max(...models.map(beyondLinears));
  const head = planHead(models, tokens, { maxBufferBytes, budgetBytes: limits.budgetBytes - fixed });
  const weights = planWeights(models, limits.budgetBytes - fixed, maxBufferBytes);
  if (!head || !weights) return null;
  const sum = lengths.reduce((all, length) => all + length, 0);
  const waiting = models.reduce((all, { description }) => all + sum * rowSize(description) * 4, 0);
  const room = limits.budgetBytes - fixed - Math.max(head.bytes, weights.bytes);
  const plan: ForwardPlan = {
    batches,
    workspace,
    ring,
    residency: weights.residency,
    readsOnce: weights.isResident,
    hiddenPlace: waiting + 16 * batches.length * models.length <= room ? "gpu" : "host",
    roundedBytes,
    head: head.plan,
  };
  return { plan, isResident: weights.isResident };
}

function ringOf({ budgetBytes }: GpuLimits): RingSize {
  const pieceBytes = 2 ** Math.floor(Math.log2(budgetBytes / 64));
  return {
    pieceBytes: Math.min(Math.max(pieceBytes, MIN_PIECE_BYTES), MAX_PIECE_BYTES),
    pieces: RING_PIECES,
  };
}

/** Rounded inputs of the widest Linear that has them. */
function inputBytes(models: readonly StoredModel[], tokens: number): number {
  const columns = models.flatMap((model) =>
    linearsOf(model).flatMap((linear) => (roundsInput(model, linear) ? [linear.columns] : [])),
  );
  return tokens * Math.max(0, ...columns) * 4;
}

function linearsOf({ description }: StoredModel) {
  return [...description.layers.flatMap(layerLinears), description.head.linear];
}

/** What each token takes: batches at work, positions, targets, what is found of each; tables of token inputs. */
function tokenBytes(
  { models, lengths, ids }: ForwardDemand,
  batches: readonly SequenceBatch[],
  limits: GpuLimits,
) {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const atWork = models.reduce(
    (sum, { description }) => sum + bufferBytes(batchHiddenBytes(batches, rowSize(description))),
    0,
  );
  const positions = batches.reduce(
    (sum, { first, starts }) => sum + batchBytes(lengths.slice(first, first + starts.length - 1)),
    0,
  );
  const tables = models.map(({ description: { tokenInputs, hiddenSize } }) =>
    tokenInputs ? tokenTablesBytes({ size: tokenInputs.size, hiddenSize, ids }, limits.maxBufferBytes) : 0,
  );
  const given = tables.some((bytes) => bytes > 0) ? tokens * 4 + 16 * batches.length : 0;
  const found = bufferBytes(tokens * 4) + bufferBytes(tokens * 32) + bufferBytes(tokens * 8);
  return atWork + positions + given + found + tables.reduce((sum, each) => sum + each, 0);
}

/** Norms, biases and other vectors of the layer that has most of them, and what codes go through. */
function beyondLinears(model: StoredModel): number {
  const { description } = model;
  const linears = linearsOf(model);
  const matrices = new Set(linears.map(({ source }) => source.tensor));
  const sizes = new Map<string, number>();
  const names = description.layers.map(({ name }) => `${name}.`);
  for (const [name, shape] of describedTensors(description)) {
    if (matrices.has(name)) continue;
    const layer = names.find((prefix) => name.startsWith(prefix));
    if (layer === undefined) continue;
    const bytes = bufferBytes(shape.reduce((product, size) => product * size, 4));
    sizes.set(layer, (sizes.get(layer) ?? 0) + bytes);
  }
  const { hiddenSize, vocabSize } = description;
  // Norm, bias, and four rows through which the head would come if its rows were asked for.
  const head =
    2 * bufferBytes(hiddenSize * 4) + bufferBytes(vocabSize * 4) + bufferBytes(hiddenSize * 16 + 64);
  // A measured scale of an input is one more vector.
  const scales = 16 * Math.max(...description.layers.map((layer) => layerLinears(layer).length));
  return Math.max(head, ...sizes.values()) + scales + stagingBytes(model, linears);
}

/** How the largest layer's Linears lie in so many bytes; null if they hold no tile. */
function planWeights(models: readonly StoredModel[], bytes: number, maxBufferBytes: number) {
  const sized = models.flatMap((model) =>
    model.description.layers.map((layer) => {
      const linears = layerLinears(layer);
      const dtypeOf = dtypesOf(model, linears);
      return { linears, dtypeOf, bytes: residentBytes(linears, dtypeOf, maxBufferBytes) };
    }),
  );
  const largest = Math.max(...sized.map((layer) => layer.bytes));
  if (largest <= bytes) {
    return { residency: { residentBytes: largest, tileBytes: MIB }, bytes: largest, isResident: true };
  }
  for (const tileBytes of STREAM_STEPS) {
    const ways = sized.map(({ linears, dtypeOf }) =>
      fitResidency(linears, dtypeOf, { bytes, tileBytes }, maxBufferBytes),
    );
    if (ways.some((way) => way === null)) continue;
    const resident = Math.min(...ways.map((way) => way?.residentBytes ?? 0));
    return { residency: { residentBytes: resident, tileBytes }, bytes, isResident: false };
  }
  return null;
}

/** As many rows of the heads as there is room for, with the logits of a run of tokens; null if there is none. */
function planHead(
  models: readonly StoredModel[],
  batchTokens: number,
  { budgetBytes, maxBufferBytes }: GpuLimits,
): { plan: HeadPlan; bytes: number } | null {
  const columns = models.map(({ description }) => strideOf(description.head.linear.columns, "BF16"));
  const vocabulary = Math.max(...models.map(({ description }) => description.vocabSize));
  const most = Math.ceil(vocabulary / ROW_MULTIPLE) * ROW_MULTIPLE;
  const logitsBytes = Math.min(maxBufferBytes, MAX_LOGITS_BYTES);
  let best: { plan: HeadPlan; bytes: number } | null = null;
  for (let tokens = Math.min(batchTokens, HEAD_TOKENS); tokens >= 1; tokens = Math.floor(tokens / 2)) {
    const each = columns.reduce((sum, count) => sum + 4 * (count + tokens), 0);
    const bound = Math.min(logitsBytes / (4 * tokens), maxBufferBytes / (4 * Math.max(...columns)));
    const rows = Math.floor(Math.min(most, budgetBytes / each, bound) / ROW_MULTIPLE) * ROW_MULTIPLE;
    const isLarger = rows * tokens > (best ? best.plan.rows * best.plan.tokens : 0);
    if (isLarger) best = { plan: { rows, tokens }, bytes: rows * each };
    // Each part of the vocabulary takes a pass over all hidden states: few large parts come before long runs of tokens.
    if (rows >= Math.min(most, HEAD_ROWS)) return { plan: { rows, tokens }, bytes: rows * each };
  }
  return best;
}
