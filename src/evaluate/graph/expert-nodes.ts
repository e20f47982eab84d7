// A mixture of experts in ONNX. Every expert runs on all tokens, and its output counts as much as the router says: 0 for
// tokens that go elsewhere. That costs more arithmetic than routing, but needs no operator whose shapes depend on values.

import type { Experts, Mlp } from "../../model/decoder-description.ts";
import type { Value } from "./encode-model.ts";
import { applyLinear } from "./linear-nodes.ts";
import type { OnnxGraph } from "./onnx-graph.ts";
import type { DecoderGraph } from "./weight-input.ts";

/** Below every probability: marks experts that were chosen already. */
const CHOSEN = -1;

/** The block's output for x (tokens, hidden); `applyMlp` gives one expert's. */
export function applyExperts(
  decoder: DecoderGraph,
  { router, topK, normalizeTopK, experts, shared }: Experts,
  x: Value,
  applyMlp: (mlp: Mlp, x: Value) => Value,
): Value {
  const { graph } = decoder;
  const probabilities = graph.node("Softmax", [applyLinear(decoder, router, x)], { axis: { int: -1 } });
  const chosen = keepLargest(graph, probabilities, topK);
  const shares = normalizeTopK ? graph.node("Div", [chosen, reduce(graph, "ReduceSum", chosen)]) : chosen;
  const outputs = experts.map((expert, index) => {
    const share = graph.node("Slice", [
      shares,
      graph.integers([index]),
      graph.integers([index + 1]),
      graph.integers([1]),
    ]);
    return graph.node("Mul", [applyMlp(expert, x), share]);
  });
  if (shared) {
    const gate = graph.node("Sigmoid", [applyLinear(decoder, shared.gate, x)]);
    outputs.push(graph.node("Mul", [applyMlp(shared.mlp, x), gate]));
  }
  return outputs.reduce((sum, output) => graph.node("Add", [sum, output]));
}

/** The `count` largest values of each row; 0 in place of the others. Of equal values at the border all stay. */
function keepLargest(graph: OnnxGraph, values: Value, count: number): Value {
  let left = values;
  for (let taken = 1; taken < count; taken++) {
    const isLargest = graph.node("GreaterOrEqual", [left, reduce(graph, "ReduceMax", left)]);
    left = graph.node("Where", [isLargest, graph.floats(CHOSEN), left]);
  }
  const least = reduce(graph, "ReduceMax", left);
  return graph.node("Where", [graph.node("GreaterOrEqual", [values, least]), values, graph.floats(0)]);
}

function reduce(graph: OnnxGraph, operator: "ReduceMax" | "ReduceSum", x: Value): Value {
  return graph.node(operator, [x, graph.integers([-1])], { keepdims: { int: 1 } });
}
