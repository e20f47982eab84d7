// What the mixers with a state compute over a whole sequence at once: token i sees what token j has written as much as decayed
// between them, which is a matrix of tokens by tokens for each head.

import type { Value } from "../encode-model.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import { type DecoderGraph, vectorInput } from "../weight-input.ts";
import type { GatedDeltaNet, Mamba2 } from "../../../model/mixer-description.ts";

/** Δ = softplus(timeStep + bias), within limits, and the logarithm of the decay, -e^decay · Δ; (tokens, heads) each. */
export function timeGates(
  decoder: DecoderGraph,
  { heads, decay, timeStepBias }: Pick<GatedDeltaNet | Mamba2, "heads" | "decay" | "timeStepBias">,
  timeSteps: Value,
  limits: Mamba2["timeStepLimits"] | null = null,
): { readonly steps: Value; readonly logDecays: Value } {
  const { graph } = decoder;
  const biased = graph.node("Add", [timeSteps, vectorInput(decoder, timeStepBias, heads)]);
  const plain = softplus(graph, biased);
  const steps = limits ? graph.node("Clip", [plain, ...boundsOf(graph, limits)]) : plain;
  const rates = graph.node("Exp", [vectorInput(decoder, decay, heads)]);
  return { steps, logDecays: graph.node("Neg", [graph.node("Mul", [steps, rates])]) };
}

/** float32 ends above what config.json may say. */
function boundsOf(graph: OnnxGraph, { least, largest }: Mamba2["timeStepLimits"]): Value[] {
  return [least, Math.min(largest, 3e38)].map((bound) => graph.floats(bound));
}

/** log(1 + e^x), exact for small e^x too, where a sum with 1 loses it: log1p(u) = u · log(w) / (w - 1) with w = 1 + u. */
function softplus(graph: OnnxGraph, x: Value): Value {
  const u = graph.node("Exp", [graph.node("Neg", [graph.node("Abs", [x])])]);
  const w = graph.node("Add", [u, graph.floats(1)]);
  const rounded = graph.node("Sub", [w, graph.floats(1)]);
  const isLost = graph.node("Equal", [rounded, graph.floats(0)]);
  const divisor = graph.node("Where", [isLost, graph.floats(1), rounded]);
  const ratio = graph.node("Div", [graph.node("Log", [w]), divisor]);
  const log1p = graph.node("Mul", [u, graph.node("Where", [isLost, graph.floats(1), ratio])]);
  return graph.node("Add", [graph.node("Relu", [x]), log1p]);
}

/** Heads that share a key stand side by side: (keyHeads, heads / keyHeads, …). */
export interface SharedKeys {
  readonly heads: number;
  readonly keyHeads: number;
}

/** Sums of multiples of 1 / COARSE are exact in float32 up to 2^24 / COARSE. */
const COARSE = 256;

/**
 * e^(G_i - G_j) with G the sums of logarithms (tokens, heads), and 0 where the mask is far below:
 * (keyHeads, heads / keyHeads, tokens, tokens).
 *
 * A difference of two large sums would have lost what they were rounded by. So the logarithms are parted: the coarse parts'
 * sums and differences are exact, the others' are small.
 */
export function decaysBetween(
  graph: OnnxGraph,
  logDecays: Value,
  mask: Value,
  { heads, keyHeads }: SharedKeys,
): Value {
  const steps = graph.node("Floor", [graph.node("Mul", [logDecays, graph.floats(COARSE)])]);
  const coarse = graph.node("Mul", [steps, graph.floats(1 / COARSE)]);
  const between = (logarithms: Value) => {
    const sums = graph.node("CumSum", [logarithms, graph.integers([0])]);
    const byHead = graph.node("Transpose", [sums], { perm: { ints: [1, 0] } });
    const shared = graph.node("Reshape", [byHead, graph.integers([keyHeads, heads / keyHeads, -1])]);
    return graph.node("Sub", [
      graph.node("Unsqueeze", [shared, graph.integers([3])]),
      graph.node("Unsqueeze", [shared, graph.integers([2])]),
    ]);
  };
  const fine = graph.node("Add", [between(graph.node("Sub", [logDecays, coarse])), mask]);
  return graph.node("Exp", [graph.node("Add", [between(coarse), fine])]);
}

/** x (tokens, heads · size) as (heads, tokens, size), or with the last two exchanged. */
export function headsFirst(
  graph: OnnxGraph,
  x: Value,
  {
    heads,
    size,
    turned = false,
  }: { readonly heads: number; readonly size: number; readonly turned?: boolean },
): Value {
  const parted = graph.node("Reshape", [x, graph.integers([-1, heads, size])]);
  return graph.node("Transpose", [parted], { perm: { ints: turned ? [1, 2, 0] : [1, 0, 2] } });
}

/** x (tokens, heads · size) as (keyHeads, heads / keyHeads, tokens, size). */
export function sharedHeads(
  graph: OnnxGraph,
  x: Value,
  { heads, keyHeads }: SharedKeys,
  size: number,
): Value {
  const perHead = headsFirst(graph, x, { heads, size });
  return graph.node("Reshape", [perHead, graph.integers([keyHeads, heads / keyHeads, -1, size])]);
}

/** (keyHeads, share, tokens, size) as (tokens, heads · size). */
export function tokensFirst(graph: OnnxGraph, x: Value, heads: number, size: number): Value {
  const flat = graph.node("Reshape", [x, graph.integers([heads, -1, size])]);
  const turned = graph.node("Transpose", [flat], { perm: { ints: [1, 0, 2] } });
  return graph.node("Reshape", [turned, graph.integers([-1, heads * size])]);
}

/** x · sigmoid(x) */
export function silu(graph: OnnxGraph, x: Value): Value {
  return graph.node("Mul", [x, graph.node("Sigmoid", [x])]);
}
