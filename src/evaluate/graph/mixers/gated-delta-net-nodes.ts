import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import { normalize } from "../norm-nodes.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import { maskName } from "../run-inputs.ts";
import type { DecoderGraph } from "../weight-input.ts";
import { splitGroups } from "./attention-nodes.ts";
import { convolve } from "./convolution-nodes.ts";
import { type MixerNodes, wholeSequenceNodes } from "./mixer-nodes.ts";
import { decaysBetween, headsFirst, sharedHeads, silu, timeGates, tokensFirst } from "./recurrence-nodes.ts";
import type { GatedDeltaNet } from "../../../model/mixer-description.ts";

/** Doublings of the blocks that are inverted: sequences of up to 2^12 tokens. */
const LEVELS = 12;
/** Far below every logarithm of a decay. */
const NEVER = -1e30;

export function gatedDeltaNetNodes(mixer: GatedDeltaNet): MixerNodes {
  return wholeSequenceNodes({
    mask: "levels",
    maxTokens: 2 ** LEVELS,
    apply: (decoder, x) => mixDelta(decoder, mixer, x),
  });
}

/**
 * The whole sequence as one chunk: what token i writes, u_i = β_i (v_i - Σ e^(G_i - G_j) (k_i · k_j) u_j) over the tokens j before it,
 * is the solution of a lower triangular system of ones on the diagonal; the output is (Q Kᵀ ⊙ decays) U.
 */
function mixDelta(decoder: DecoderGraph, mixer: GatedDeltaNet, x: Value): Value {
  const { graph } = decoder;
  const { heads, keyHeads, keyDim, valueDim, norm, output } = mixer;
  const { queryKeyValue, gate, betas, timeSteps } = project(decoder, mixer, x);
  const convolved = silu(graph, convolve(decoder, mixer.convolution, queryKeyValue));
  const widths = graph.integers([keyHeads * keyDim, keyHeads * keyDim, heads * valueDim]);
  const [q = "", k = "", v = ""] = graph.nodes("Split", [convolved, widths], 3, { axis: { int: 1 } });
  const queries = unitLength(graph, q, { keyHeads, keyDim, factor: keyDim ** -0.5 });
  const keys = unitLength(graph, k, { keyHeads, keyDim, factor: 1 });
  const levels = graph.input(maskName("levels"), "float32", ["tokens", "tokens"]);
  const isLater = graph.node("Equal", [levels, graph.floats(-1)]);
  const mask = graph.node("Where", [isLater, graph.floats(NEVER), graph.floats(0)]);
  const shape = { heads, keyHeads };
  const { logDecays } = timeGates(decoder, mixer, timeSteps);
  const decays = decaysBetween(graph, logDecays, mask, shape);
  const turnedKeys = graph.node("Transpose", [keys], { perm: { ints: [0, 2, 1] } });
  const between = (left: Value) =>
    graph.node("Mul", [
      graph.node("Unsqueeze", [graph.node("MatMul", [left, turnedKeys]), graph.integers([1])]),
      decays,
    ]);
  const factors = sharedHeads(graph, graph.node("Sigmoid", [betas]), shape, 1);
  const values = sharedHeads(graph, v, shape, valueDim);
  const system = graph.node("Mul", [between(keys), factors]);
  const written = graph.node("MatMul", [
    inverse(graph, system, levels),
    graph.node("Mul", [values, factors]),
  ]);
  const seen = tokensFirst(graph, graph.node("MatMul", [between(queries), written]), heads, valueDim);
  const normed = normalize(decoder, norm, seen, heads * valueDim);
  return applyLinear(decoder, output, graph.node("Mul", [normed, silu(graph, gate)]));
}

/**
 * (I + A)⁻¹ of A's part below the diagonal, by blocks that double: with X the inverse of the diagonal blocks and B what stands
 * below them in blocks twice as large, the inverse of those is X - X B X.
 */
function inverse(graph: OnnxGraph, a: Value, levels: Value): Value {
  const at = (level: number, value: Value) =>
    graph.node("Where", [graph.node("Equal", [levels, graph.floats(level)]), value, graph.floats(0)]);
  let x = graph.node("Sub", [at(-2, graph.floats(1)), at(0, a)]);
  for (let level = 1; level < LEVELS; level++) {
    const below = graph.node("MatMul", [graph.node("MatMul", [x, at(level, a)]), x]);
    x = graph.node("Sub", [x, below]);
  }
  return x;
}

/** Heads of x (tokens, keyHeads · keyDim) brought to a length: (keyHeads, tokens, keyDim). */
function unitLength(
  graph: OnnxGraph,
  x: Value,
  { keyHeads, keyDim, factor }: Pick<GatedDeltaNet, "keyHeads" | "keyDim"> & { readonly factor: number },
): Value {
  const heads = headsFirst(graph, x, { heads: keyHeads, size: keyDim });
  const squares = graph.node("ReduceSum", [graph.node("Mul", [heads, heads]), graph.integers([-1])], {
    keepdims: { int: 1 },
  });
  const length = graph.node("Sqrt", [graph.node("Add", [squares, graph.floats(1e-6)])]);
  const unit = graph.node("Div", [heads, length]);
  return factor === 1 ? unit : graph.node("Mul", [unit, graph.floats(factor)]);
}

function project(decoder: DecoderGraph, mixer: GatedDeltaNet, x: Value) {
  const { inputs, heads, keyHeads, keyDim, valueDim } = mixer;
  const { graph } = decoder;
  if (inputs.kind === "separate") {
    return {
      queryKeyValue: applyLinear(decoder, inputs.queryKeyValue, x),
      gate: applyLinear(decoder, inputs.gate, x),
      betas: applyLinear(decoder, inputs.beta, x),
      timeSteps: applyLinear(decoder, inputs.timeStep, x),
    };
  }
  const share = heads / keyHeads;
  const widths = [keyDim, keyDim, share * valueDim, share * valueDim];
  const all = applyLinear(decoder, inputs.queryKeyValueGate, x);
  const [q = "", k = "", v = "", gate = ""] = splitGroups(graph, all, keyHeads, widths);
  const pairs = applyLinear(decoder, inputs.betaTimeStep, x);
  const [betas = "", timeSteps = ""] = splitGroups(graph, pairs, keyHeads, [share, share]);
  return { queryKeyValue: graph.node("Concat", [q, k, v], { axis: { int: 1 } }), gate, betas, timeSteps };
}
