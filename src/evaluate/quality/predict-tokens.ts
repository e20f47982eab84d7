// Final norms and heads over all sequences. The vocabulary is taken in parts, because a head may be larger than a layer, and tokens
// in runs.

import { invariant } from "../../errors.ts";
import { rowSize } from "../../model/decoder-description.ts";
import { headGraph, HIDDEN_INPUT, LOGITS_OUTPUT } from "../graph/decoder-graph.ts";
import type { RowRange } from "../graph/linear-nodes.ts";
import { floatsOf, tokenRange } from "../run-layer.ts";
import type { Engine } from "../runtime/engine.ts";
import { yieldToMessages } from "../../yield-to-messages.ts";
import { vocabularyParts } from "../weights/vocabulary-parts.ts";
import { planLinears } from "../weights/weight-values.ts";
import { compareLogits, summarizeLogits } from "./logit-statistics.ts";
import type { QualityRequest, Stream } from "./quality-request.ts";
import { addComparedPart, addPart, type ComparedPrediction, startPrediction } from "./token-statistics.ts";

const MAX_LOGITS_BYTES = 64 * 1024 ** 2;

/** A run of tokens of one sequence, each of which predicts the next. */
interface TokenRun {
  readonly sequence: number;
  readonly first: number;
  readonly targets: readonly number[];
  /** Place of the first one's prediction among all. */
  readonly at: number;
}

/** Predictions of all tokens but the first of each sequence, in order, by the streams' rows behind their last layers. */
export async function predictTokens(
  { engine, sequences, signal }: Pick<QualityRequest, "engine" | "sequences" | "signal">,
  streams: readonly Stream[],
): Promise<ComparedPrediction[]> {
  const description = streams[0]?.model.description;
  invariant(description, "there is a model");
  const parts = vocabularyParts(engine, description);
  const largest = Math.max(...parts.map(({ rows }) => rows));
  const runs = tokenRuns(sequences, Math.max(1, Math.floor(MAX_LOGITS_BYTES / (4 * largest))));
  const predictions = runs.flatMap(({ targets }) => targets.map(startPrediction));
  for (const part of parts) {
    const isPart = parts.length > 1;
    using own = await onloadHead(engine, streams[0], part, isPart);
    using other = streams[1] ? await onloadHead(engine, streams[1], part, isPart) : null;
    for (const run of runs) {
      await yieldToMessages();
      signal.throwIfAborted();
      addRun(predictions, run, part, [await own.run(run), other && (await other.run(run))]);
    }
  }
  return predictions;
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

interface Head extends Disposable {
  /** Logits (tokens, rows of the part) of a run of tokens. */
  run(run: TokenRun): Promise<Float32Array>;
}

async function onloadHead(
  engine: Engine,
  stream: Stream | undefined,
  part: RowRange,
  isPart: boolean,
): Promise<Head> {
  invariant(stream, "there is a model");
  const { model, rows } = stream;
  const width = rowSize(model.description);
  const plan = planLinears(model, engine.maxInputBytes);
  const graph = await engine.onload(model, headGraph(model.description, plan, isPart ? part : null), 1);
  return {
    async run({ sequence, first, targets: { length } }) {
      const own = rows[sequence];
      invariant(own, "the sequence has hidden states");
      const outputs = await graph.run({
        ...tokenRange(engine, first, first + length),
        [HIDDEN_INPUT]: engine.floats(own, [own.length / width, width]),
      });
      return floatsOf(outputs[LOGITS_OUTPUT]);
    },
    [Symbol.dispose]: () => graph[Symbol.dispose](),
  };
}

function addRun(
  predictions: readonly ComparedPrediction[],
  run: TokenRun,
  { firstRow, rows }: RowRange,
  [own, other]: readonly [Float32Array, Float32Array | null],
): void {
  for (const [row, target] of run.targets.entries()) {
    const prediction = predictions[run.at + row];
    invariant(prediction, "each token has a prediction");
    const column = target >= firstRow && target < firstRow + rows ? target - firstRow : null;
    const ownRow = own.subarray(row * rows, (row + 1) * rows);
    if (!other) addPart(prediction.own, summarizeLogits(ownRow, column));
    else {
      const otherRow = other.subarray(row * rows, (row + 1) * rows);
      addComparedPart(prediction, compareLogits(ownRow, otherRow, column));
    }
  }
}
