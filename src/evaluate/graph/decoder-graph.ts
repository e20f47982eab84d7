// A decoder's layers and its end as ONNX graphs, from the same description that calibration runs in WGSL.

import {
  type DecoderDescription,
  type FeedForward,
  type LayerDescription,
  type Mlp,
  rowSize,
} from "../../model/decoder-description.ts";
import { sharesInput } from "../../model/layer-linears.ts";
import { activate, gatedUnit } from "./activation-nodes.ts";
import type { Value } from "./encode-model.ts";
import { applyExperts } from "./expert-nodes.ts";
import { applyLinear, applyRows, type RowRange, rowsInput } from "./linear-nodes.ts";
import { nodesOf } from "./mixers/nodes-of.ts";
import { normalize } from "./norm-nodes.ts";
import { createGraph, type OnnxGraph } from "./onnx-graph.ts";
import { putRows, takeRows } from "./carried-nodes.ts";
import { addTokenBlock, givenTo, givenToAll } from "./token-nodes.ts";
import { cacheNames } from "./run-inputs.ts";
import { type DecoderGraph, type LinearPlan, vectorInput, type WeightInput } from "./weight-input.ts";
import type { Linear, Norm } from "../../model/weight-description.ts";

export const HIDDEN_INPUT = "hidden";
/** int32 (tokens): what is looked up in the embedding. */
export const IDS_INPUT = "ids";
export const HIDDEN_OUTPUT = "hidden_out";
export const LOGITS_OUTPUT = "logits";
/** int64 [1] each: the tokens that a head is applied to. */
export const TOKEN_RANGE = { first: "first", end: "end" } as const;

export interface BuiltGraph {
  readonly graph: OnnxGraph;
  /** In the order in which the graph declares them. */
  readonly weights: readonly WeightInput[];
}

/** One layer: hidden (tokens, hidden) to hidden_out, for a sequence that starts at its first token. */
export function layerGraph(
  description: DecoderDescription,
  layer: LayerDescription,
  plan: LinearPlan,
): BuiltGraph {
  const decoder = startGraph("layer", plan);
  const { graph } = decoder;
  const shape = ["tokens", rowSize(description)];
  const rows = takeRows(decoder, description, graph.input(HIDDEN_INPUT, "float32", shape));
  const index = description.layers.indexOf(layer);
  const hidden = addLayer(decoder, layer, rows, {
    cacheIndex: null,
    given: givenTo(decoder, description, index),
  });
  graph.output(HIDDEN_OUTPUT, "float32", shape, putRows(decoder, description, hidden));
  return decoder;
}

/**
 * Final norm and head: tokens [first, end) of hidden (tokens, hidden) to their logits (end − first, vocabulary), or to
 * those of `part` of the vocabulary.
 */
export function headGraph(
  description: DecoderDescription,
  plan: LinearPlan,
  part: RowRange | null = null,
): BuiltGraph {
  const decoder = startGraph("head", plan);
  const { graph } = decoder;
  const rows = graph.input(HIDDEN_INPUT, "float32", ["tokens", rowSize(description)]);
  const hidden = takeRows(decoder, description, rows);
  const first = graph.input(TOKEN_RANGE.first, "int64", [1]);
  const end = graph.input(TOKEN_RANGE.end, "int64", [1]);
  const tokens = graph.node("Slice", [hidden, first, end, graph.integers([0])]);
  addHead(decoder, description, tokens, part);
  return decoder;
}

/** True if the head's weight, whole and in float32, serves as the table that tokens are looked up in. */
export function canLookUp({ head }: DecoderDescription, plan: LinearPlan): boolean {
  const { rows, columns } = head.linear;
  return head.tied && plan.layout(head.linear).kind === "dense" && rows * columns * 4 <= plan.maxInputBytes;
}

/**
 * The whole decoder: tokens to the last one's logits (1, vocabulary), with caches if asked for. Tokens are ids (tokens)
 * where they can be looked up, else hidden (tokens, hidden).
 */
export function generationGraph(
  description: DecoderDescription,
  plan: LinearPlan,
  cached: boolean,
): BuiltGraph {
  const decoder = startGraph("decoder", plan);
  const { graph } = decoder;
  let hidden = canLookUp(description, plan)
    ? lookUp(decoder, description)
    : graph.input(HIDDEN_INPUT, "float32", ["tokens", description.hiddenSize]);
  const given = givenToAll(decoder, description, hidden);
  for (const [index, layer] of description.layers.entries()) {
    hidden = addLayer(decoder, layer, hidden, {
      cacheIndex: cached ? index : null,
      given: given[index] ?? null,
    });
  }
  const last = graph.node("Slice", [
    hidden,
    graph.integers([-1]),
    graph.integers([Number.MAX_SAFE_INTEGER]),
    graph.integers([0]),
  ]);
  addHead(decoder, description, last, null);
  return decoder;
}

function lookUp(decoder: DecoderGraph, { head, embedding }: DecoderDescription): Value {
  const { graph } = decoder;
  const table = rowsInput(decoder, head.linear, { firstRow: 0, rows: head.linear.rows });
  const rows = graph.node("Gather", [table, graph.input(IDS_INPUT, "int32", ["tokens"])]);
  return embedding.multiplier === 1 ? rows : graph.node("Mul", [rows, graph.floats(embedding.multiplier)]);
}

function startGraph(name: string, plan: LinearPlan): DecoderGraph {
  return { graph: createGraph(name), plan, weights: [], quantized: new Map(), carried: new Map() };
}

interface LayerInputs {
  /** Place of the layer's cache among the graph's; null without one. */
  readonly cacheIndex: number | null;
  /** What its token block is given, (tokens, size). */
  readonly given: Value | null;
}

function addLayer(
  decoder: DecoderGraph,
  layer: LayerDescription,
  hidden: Value,
  { cacheIndex, given }: LayerInputs,
): Value {
  const { norms, mixers, feedForward, parallel, residualMultiplier, hiddenSize, outputScale } = layer;
  const { graph } = decoder;
  const norm = (by: Norm | null, x: Value) => (by ? normalize(decoder, by, x, hiddenSize) : x);
  const join = (x: Value, block: Value) =>
    graph.node("Add", [
      x,
      residualMultiplier === 1 ? block : graph.node("Mul", [block, graph.floats(residualMultiplier)]),
    ]);
  const input = mixers.length > 0 ? norm(norms.mixerInput, hidden) : hidden;
  const cache = cacheIndex === null ? null : cacheNames(cacheIndex);
  const middle = mixers.reduce(
    (x, mixer) =>
      join(
        x,
        norm(
          norms.mixerOutput,
          scaled(graph, nodesOf(mixer).apply(decoder, input, cache), mixer.outputFactor),
        ),
      ),
    hidden,
  );
  const scaleOutput = (x: Value) => {
    const whole = addTokenBlock(decoder, layer, x, given);
    return outputScale === null ? whole : graph.node("Mul", [whole, vectorInput(decoder, outputScale, 1)]);
  };
  if (!feedForward) return scaleOutput(middle);
  const before = parallel ? hidden : middle;
  const second = sharesInput(layer) ? input : norm(norms.feedForwardInput, before);
  const fed = applyFeedForward(decoder, feedForward, second, before);
  return scaleOutput(join(middle, norm(norms.feedForwardOutput, fed)));
}

function scaled(graph: OnnxGraph, x: Value, factor = 1): Value {
  return factor === 1 ? x : graph.node("Mul", [x, graph.floats(factor)]);
}

/** The block's output for its normed input x; `hidden` is what was normed. */
function applyFeedForward(decoder: DecoderGraph, block: FeedForward, x: Value, hidden: Value): Value {
  if (block.kind === "mlp") return applyMlp(decoder, block, x);
  const inputs = { x, hidden };
  return applyExperts(decoder, block, inputs, (mlp, input) => applyMlp(decoder, mlp, input));
}

function applyMlp(decoder: DecoderGraph, mlp: Mlp, x: Value): Value {
  const output = applyLinear(decoder, mlp.down, innerValues(decoder, mlp, x));
  return scaled(decoder.graph, output, mlp.factors?.output);
}

function innerValues(decoder: DecoderGraph, mlp: Mlp, x: Value): Value {
  const { inputs, activation, intermediateSize } = mlp;
  const { graph } = decoder;
  const apply = (linear: Linear) => applyLinear(decoder, linear, x);
  if (inputs.kind === "plain") return activate(decoder, activation, apply(inputs.up));
  if (inputs.kind === "gated") {
    const gate = scaled(graph, apply(inputs.gate), mlp.factors?.gate);
    return gatedUnit(decoder, activation, gate, apply(inputs.up));
  }
  const lengths = graph.integers([intermediateSize, intermediateSize]);
  const [gate = "", up = ""] = graph.nodes("Split", [apply(inputs.gateUp), lengths], 2, { axis: { int: 1 } });
  return gatedUnit(decoder, activation, gate, up);
}

function addHead(
  decoder: DecoderGraph,
  { head, finalNorm, hiddenSize, vocabSize }: DecoderDescription,
  hidden: Value,
  part: RowRange | null,
): void {
  const { graph } = decoder;
  const normed = normalize(decoder, finalNorm, hidden, hiddenSize);
  const logits = part
    ? applyRows(decoder, head.linear, normed, part)
    : applyLinear(decoder, head.linear, normed);
  const factor = head.softCap === null ? head.scale : head.scale / head.softCap;
  const scaledLogits = scaled(graph, logits, factor);
  const capped =
    head.softCap === null
      ? scaledLogits
      : graph.node("Mul", [graph.node("Tanh", [scaledLogits]), graph.floats(head.softCap)]);
  graph.output(LOGITS_OUTPUT, "float32", ["predicted", part?.rows ?? vocabSize], capped);
}
