// A mixture of experts in ONNX. Every expert runs on all tokens, and its output counts as much as the router says: 0 for
// tokens that go elsewhere. That costs more arithmetic than routing, but needs no operator whose shapes depend on values.

import type { Experts, Mlp, SharedExpert } from "../../model/decoder-description.ts";
import type { Norm } from "../../model/weight-description.ts";
import type { Value } from "./encode-model.ts";
import { applyLinear } from "./linear-nodes.ts";
import { normalize } from "./norm-nodes.ts";
import type { OnnxGraph } from "./onnx-graph.ts";
import { type DecoderGraph, vectorInput } from "./weight-input.ts";

/** Below every score and logit: marks what is not to be chosen. */
const NEVER = -1e30;

type ApplyMlp = (mlp: Mlp, x: Value) => Value;

/** The block's output for x (tokens, hidden), which `hidden` was normed to; `applyMlp` gives one expert's. */
export function applyExperts(
  decoder: DecoderGraph,
  block: Experts,
  { x, hidden }: { readonly x: Value; readonly hidden: Value },
  applyMlp: ApplyMlp,
): Value {
  const { graph } = decoder;
  const { shared, apart } = block;
  if (apart && shared) return addApart(decoder, { ...block, apart, shared }, { x, hidden }, applyMlp);
  const routed = routedSum(decoder, block, { x, seen: x }, applyMlp);
  if (!shared) return routed;
  const output = applyMlp(shared.mlp, x);
  const gate = shared.gate && graph.node("Sigmoid", [applyLinear(decoder, shared.gate, x)]);
  return graph.node("Add", [routed, gate === null ? output : graph.node("Mul", [output, gate])]);
}

/** Routed experts and an MLP beside them, each with norms of its own. */
function addApart(
  decoder: DecoderGraph,
  block: Experts & Required<Pick<Experts, "apart">> & { readonly shared: SharedExpert },
  { x, hidden }: { readonly x: Value; readonly hidden: Value },
  applyMlp: ApplyMlp,
): Value {
  const { graph } = decoder;
  const { router, sharedInput, sharedOutput, output } = block.apart;
  const size = block.router.columns;
  const normed = (norm: Norm, value: Value) => normalize(decoder, norm, value, size);
  const seen = graph.node("Mul", [normed(router.norm, hidden), graph.floats(router.factor)]);
  const routed = routedSum(decoder, block, { x, seen }, applyMlp);
  const beside = applyMlp(block.shared.mlp, normed(sharedInput, hidden));
  return graph.node("Add", [normed(output, routed), normed(sharedOutput, beside)]);
}

/** Σ weight · expert(x), with weights by what the router has seen. */
function routedSum(
  decoder: DecoderGraph,
  block: Experts,
  { x, seen }: { readonly x: Value; readonly seen: Value },
  applyMlp: ApplyMlp,
): Value {
  const { graph } = decoder;
  const { experts, weighsInputs } = block;
  const shares = sharesOf(decoder, block, applyLinear(decoder, block.router, seen));
  const outputs = experts.map((expert, index) => {
    const share = graph.node("Slice", [
      shares,
      graph.integers([index]),
      graph.integers([index + 1]),
      graph.integers([1]),
    ]);
    // An expert without biases gives nothing for an input of zeros.
    return weighsInputs
      ? applyMlp(expert, graph.node("Mul", [x, share]))
      : graph.node("Mul", [applyMlp(expert, x), share]);
  });
  return outputs.reduce((sum, output) => graph.node("Add", [sum, output]));
}

/** Weights of all experts (tokens, experts): 0 for those that are not chosen. */
function sharesOf(decoder: DecoderGraph, block: Experts, logits: Value): Value {
  const { graph } = decoder;
  const { scoring, correction, topK, normalizeTopK, scale, expertScales, experts } = block;
  if (typeof scoring !== "string") return sparsemixerShares(graph, scoring.jitter, logits);
  const scores =
    scoring === "softmax"
      ? graph.node("Softmax", [logits], { axis: { int: -1 } })
      : graph.node("Sigmoid", [logits]);
  const corrected =
    correction === null
      ? scores
      : graph.node("Add", [scores, vectorInput(decoder, correction, experts.length)]);
  const isChosen = isAmongLargest(graph, keepGroups(graph, block, corrected), topK);
  const chosen = graph.node("Where", [isChosen, scores, graph.floats(0)]);
  const shares = normalizeTopK ? graph.node("Div", [chosen, reduce(graph, "ReduceSum", chosen)]) : chosen;
  const scaled = scale === 1 ? shares : graph.node("Mul", [shares, graph.floats(scale)]);
  if (expertScales === undefined) return scaled;
  return graph.node("Mul", [scaled, vectorInput(decoder, expertScales, experts.length)]);
}

/** Scores of the best groups; far below all others in place of the rest. */
function keepGroups(graph: OnnxGraph, { groups, experts }: Experts, scores: Value): Value {
  if (!groups) return scores;
  const { count, kept, by } = groups;
  const grouped = graph.node("Reshape", [scores, graph.integers([-1, count, experts.length / count])]);
  const best = reduce(graph, "ReduceMax", grouped);
  const others = graph.node("Where", [
    graph.node("GreaterOrEqual", [grouped, best]),
    graph.floats(NEVER),
    grouped,
  ]);
  const worth = by === "best" ? best : graph.node("Add", [best, reduce(graph, "ReduceMax", others)]);
  const flat = graph.node("Reshape", [worth, graph.integers([-1, count])]);
  const isKept = graph.node("Unsqueeze", [isAmongLargest(graph, flat, kept), graph.integers([2])]);
  const masked = graph.node("Where", [isKept, grouped, graph.floats(NEVER)]);
  return graph.node("Reshape", [masked, graph.integers([-1, experts.length])]);
}

/** Two experts one after the other, each with its softmax over the logits that come close to the largest. */
function sparsemixerShares(graph: OnnxGraph, jitter: number, logits: Value): Value {
  const first = sparseChoice(graph, jitter, logits, logits);
  const left = graph.node("Where", [first.isChosen, graph.floats(NEVER), logits]);
  const second = sparseChoice(graph, jitter, logits, left);
  return graph.node("Add", [first.share, second.share]);
}

function sparseChoice(graph: OnnxGraph, jitter: number, logits: Value, left: Value) {
  const largest = reduce(graph, "ReduceMax", left);
  const magnitude = graph.node("Max", [graph.node("Abs", [logits]), largest]);
  const distance = graph.node("Div", [graph.node("Sub", [largest, logits]), magnitude]);
  const isFar = graph.node("Greater", [distance, graph.floats(2 * jitter)]);
  const close = graph.node("Where", [isFar, graph.floats(NEVER), left]);
  const isChosen = graph.node("GreaterOrEqual", [left, largest]);
  const share = graph.node("Softmax", [close], { axis: { int: -1 } });
  return { isChosen, share: graph.node("Where", [isChosen, share, graph.floats(0)]) };
}

/** True for the `count` largest values of each row. Of equal values at the border all are. */
function isAmongLargest(graph: OnnxGraph, values: Value, count: number): Value {
  let left = values;
  for (let taken = 1; taken < count; taken++) {
    const isLargest = graph.node("GreaterOrEqual", [left, reduce(graph, "ReduceMax", left)]);
    left = graph.node("Where", [isLargest, graph.floats(NEVER), left]);
  }
  return graph.node("GreaterOrEqual", [values, reduce(graph, "ReduceMax", left)]);
}

function reduce(graph: OnnxGraph, operator: "ReduceMax" | "ReduceSum", x: Value): Value {
  return graph.node(operator, [x, graph.integers([-1])], { keepdims: { int: 1 } });
}
