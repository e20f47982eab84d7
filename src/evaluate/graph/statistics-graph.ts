// What is asked of hidden states and logits, as graphs: a few numbers a token come back from the GPU instead of a
// vocabulary of logits.

import type { BuiltGraph } from "./decoder-graph.ts";
import type { Value } from "./encode-model.ts";
import { createGraph, type OnnxGraph } from "./onnx-graph.ts";

export const STATISTICS_INPUTS = {
  /** float32 (tokens, values): the measured model's. */
  own: "own",
  /** The same of the original. */
  other: "other",
  /** int32 (tokens, 1): a column of each token's logits. */
  targets: "targets",
} as const;

export const STATISTICS_OUTPUT = "statistics";

/**
 * What `predictionGraph` tells of each token, column by column, for the part of the vocabulary that its logits cover:
 * the largest logit, Σ exp(logit − largest), the logit of the target; the same of the other model; then
 * Σ exp(other − its largest) · (other − own), and the own logit of the token that the other prefers.
 */
export const PREDICTION_COLUMNS = [
  "largest",
  "sum",
  "target",
  "otherLargest",
  "otherSum",
  "otherTarget",
  "difference",
  "ownAtOtherBest",
] as const;

/** Columns where there is no other model. */
export const OWN_COLUMNS = 3;

/** Logits (tokens, columns) of a model, and of another one if `compared`, to the columns above. */
export function predictionGraph(columns: number, compared: boolean): BuiltGraph {
  const graph = createGraph("predictions");
  const own = summarize(graph, STATISTICS_INPUTS.own, columns);
  const found = [own.largest, own.sum, own.target];
  if (compared) {
    const other = summarize(graph, STATISTICS_INPUTS.other, columns);
    const difference = graph.node("Sub", [other.logits, own.logits]);
    const weighted = graph.node("Mul", [other.exponentials, difference]);
    const isBest = graph.node("Equal", [other.logits, other.largest]);
    const atBest = graph.node("Where", [isBest, own.logits, graph.floats(-3e38)]);
    found.push(other.largest, other.sum, other.target);
    found.push(reduce(graph, "ReduceSum", weighted), reduce(graph, "ReduceMax", atBest));
  }
  return finish(graph, found);
}

/** The first `values` of rows (tokens, width) of two models to the squares of their difference and of the other's, summed a token. */
export function differenceGraph(values: number, width: number): BuiltGraph {
  const graph = createGraph("difference");
  const ends = [0, values, 1].map((each) => graph.integers([each]));
  const take = (name: string) => {
    const rows = graph.input(name, "float32", ["tokens", width]);
    return width === values ? rows : graph.node("Slice", [rows, ...ends]);
  };
  const own = take(STATISTICS_INPUTS.own);
  const other = take(STATISTICS_INPUTS.other);
  const squares = (x: Value) => reduce(graph, "ReduceSum", graph.node("Mul", [x, x]));
  return finish(graph, [squares(graph.node("Sub", [own, other])), squares(other)]);
}

function finish(graph: OnnxGraph, columns: readonly Value[]): BuiltGraph {
  const joined = graph.node("Concat", columns, { axis: { int: 1 } });
  graph.output(STATISTICS_OUTPUT, "float32", ["tokens", columns.length], joined);
  return { graph, weights: [] };
}

function summarize(graph: OnnxGraph, input: string, columns: number) {
  const logits = graph.input(input, "float32", ["tokens", columns]);
  const targets = graph.input(STATISTICS_INPUTS.targets, "int32", ["tokens", 1]);
  const largest = reduce(graph, "ReduceMax", logits);
  const exponentials = graph.node("Exp", [graph.node("Sub", [logits, largest])]);
  const sum = reduce(graph, "ReduceSum", exponentials);
  const target = graph.node("GatherElements", [logits, targets], { axis: { int: 1 } });
  return { logits, largest, exponentials, sum, target };
}

function reduce(graph: OnnxGraph, operator: "ReduceMax" | "ReduceSum", x: Value): Value {
  return graph.node(operator, [x, graph.integers([-1])], { keepdims: { int: 1 } });
}
