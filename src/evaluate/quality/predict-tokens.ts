// Final norms and heads over all sequences. The vocabulary is taken in parts, because a head may be larger than a layer,
// and tokens in runs; a few numbers of each token come back.

import type { Tensor } from "onnxruntime-web";
import { createLifetime } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { HIDDEN_INPUT, headGraph, LOGITS_OUTPUT } from "../graph/decoder-graph.ts";
import type { RowRange } from "../graph/linear-nodes.ts";
import {
  OWN_COLUMNS,
  PREDICTION_COLUMNS,
  predictionGraph,
  STATISTICS_INPUTS,
  STATISTICS_OUTPUT,
} from "../graph/statistics-graph.ts";
import { floatsOf, tokenRange } from "../run-layer.ts";
import type { Engine, OnloadedGraph } from "../runtime/engine.ts";
import type { EngineTensor } from "../runtime/tensors.ts";
import { yieldToMessages } from "../runtime/yield-to-messages.ts";
import { vocabularyParts } from "../weights/vocabulary-parts.ts";
import { planLinears } from "../weights/weight-values.ts";
import { predictionColumns } from "./prediction-columns.ts";
import { addComparedPart, addPart, type ComparedPrediction, startPrediction } from "./token-statistics.ts";
import type { QualityRequest, Stream } from "./quality-request.ts";

/** The logits of a run take this part of the budget. */
const LOGITS_SHARE = 1 / 32;
const MAX_LOGITS_BYTES = 64 * 1024 ** 2;

/** A run of tokens of one sequence, each of which predicts the next. */
interface TokenRun {
  readonly sequence: number;
  readonly first: number;
  readonly targets: readonly number[];
  /** Place of the first one's prediction among all. */
  readonly at: number;
}

/** Predictions of all tokens but the first of each sequence, in order. */
export async function predictTokens(
  request: QualityRequest,
  streams: readonly Stream[],
): Promise<ComparedPrediction[]> {
  const { engine, sequences, original } = request;
  const parts = vocabularyParts(engine, request.model.description);
  const largest = Math.max(...parts.map(({ rows }) => rows));
  const longest = Math.max(...sequences.map(({ length }) => length)) - 1;
  const tokens = Math.max(1, Math.min(longest, Math.floor(logitsBytes(engine) / (4 * largest))));
  const runs = tokenRuns(sequences, tokens);
  const predictions = runs.flatMap(({ targets }) => targets.map(startPrediction));
  for (const part of parts) {
    using heads = await onloadHeads(engine, streams, part, parts.length > 1);
    const built = predictionGraph(part.rows, original !== null);
    using statistics = await engine.onload(request.model, built, 1);
    const targets = await heads.logits(Math.min(tokens, longest), part.rows);
    for (const run of runs) {
      await yieldToMessages();
      request.signal.throwIfAborted();
      const logits = await heads.run(run, targets);
      const found = await runStatistics(engine, statistics, logits, columnsOf(run, part));
      addRun(predictions, run, found);
    }
  }
  return predictions;
}

function logitsBytes({ gpu }: Engine): number {
  return gpu ? Math.min(MAX_LOGITS_BYTES, gpu.memory.budgetBytes * LOGITS_SHARE) : MAX_LOGITS_BYTES;
}

function tokenRuns(sequences: readonly (readonly number[])[], tokens: number): TokenRun[] {
  const runs: TokenRun[] = [];
  let at = 0;
  for (const [sequence, ids] of sequences.entries()) {
    for (let first = 0; first + 1 < ids.length; first += tokens) {
      const targets = ids.slice(first + 1, Math.min(first + tokens, ids.length - 1) + 1);
      runs.push({ sequence, first, targets, at });
      at += targets.length;
    }
  }
  return runs;
}

interface Heads extends Disposable {
  /** Where logits of so many tokens go; null where the runtime chooses. */
  logits(tokens: number, columns: number): Promise<(EngineTensor | null)[]>;
  /** Logits of a run of tokens by each model. */
  run(run: TokenRun, targets: readonly (EngineTensor | null)[]): Promise<Tensor[]>;
}

async function onloadHeads(
  engine: Engine,
  streams: readonly Stream[],
  part: RowRange,
  isPart: boolean,
): Promise<Heads> {
  const lifetime = createLifetime();
  const graphs: OnloadedGraph[] = [];
  try {
    for (const { model } of streams) {
      const plan = planLinears(model, engine.maxInputBytes);
      const built = headGraph(model.description, plan, isPart ? part : null);
      graphs.push(lifetime.use(await engine.onload(model, built, 1)));
    }
  } catch (error) {
    lifetime[Symbol.dispose]();
    throw error;
  }
  return {
    async logits(tokens, columns) {
      const targets: (EngineTensor | null)[] = [];
      for (const _ of streams) {
        targets.push(engine.gpu ? lifetime.use(await engine.zeros("logits", [tokens, columns])) : null);
      }
      return targets;
    },
    async run({ sequence, first, targets: { length } }, targets) {
      const logits: Tensor[] = [];
      for (const [index, { states }] of streams.entries()) {
        const target = targets[index];
        const feeds = {
          ...tokenRange(engine, first, first + length),
          [HIDDEN_INPUT]: states.tensor(sequence),
        };
        const fetch = target ? engine.firstRows(target, length) : null;
        const outputs = await graphs[index]?.run(feeds, { [LOGITS_OUTPUT]: fetch });
        const written = outputs?.[LOGITS_OUTPUT];
        invariant(written, "a head gives logits");
        logits.push(fetch ?? written);
      }
      return logits;
    },
    [Symbol.dispose]: () => lifetime[Symbol.dispose](),
  };
}

/** Column of each target in the part's logits; null where it is outside. */
function columnsOf({ targets }: TokenRun, { firstRow, rows }: RowRange): (number | null)[] {
  return targets.map((target) => (target >= firstRow && target < firstRow + rows ? target - firstRow : null));
}

interface Found {
  readonly columns: readonly (number | null)[];
  readonly values: Float32Array | Float64Array;
}

async function runStatistics(
  engine: Engine,
  graph: OnloadedGraph,
  [own, other]: readonly Tensor[],
  columns: readonly (number | null)[],
): Promise<Found> {
  invariant(own, "there are logits");
  const indices = Int32Array.from(columns, (column) => column ?? 0);
  if (!engine.gpu) {
    return { columns, values: predictionColumns(floatsOf(own), other ? floatsOf(other) : null, indices) };
  }
  const outputs = await graph.run({
    [STATISTICS_INPUTS.own]: own,
    ...(other ? { [STATISTICS_INPUTS.other]: other } : {}),
    [STATISTICS_INPUTS.targets]: new engine.runtime.Tensor("int32", indices, [columns.length, 1]),
  });
  return { columns, values: floatsOf(outputs[STATISTICS_OUTPUT]) };
}

function addRun(predictions: readonly ComparedPrediction[], run: TokenRun, { columns, values }: Found): void {
  const width = values.length / columns.length;
  for (const [row, column] of columns.entries()) {
    const prediction = predictions[run.at + row];
    invariant(prediction, "each token has a prediction");
    const value = (name: (typeof PREDICTION_COLUMNS)[number]) =>
      values[row * width + PREDICTION_COLUMNS.indexOf(name)] ?? Number.NaN;
    const own = {
      largest: value("largest"),
      sum: value("sum"),
      target: column === null ? null : value("target"),
    };
    if (width === OWN_COLUMNS) {
      addPart(prediction.own, own);
      continue;
    }
    const other = {
      largest: value("otherLargest"),
      sum: value("otherSum"),
      target: column === null ? null : value("otherTarget"),
    };
    const [difference, ownAtOtherBest] = [value("difference"), value("ownAtOtherBest")];
    addComparedPart(prediction, { own, other, difference, ownAtOtherBest });
  }
}
