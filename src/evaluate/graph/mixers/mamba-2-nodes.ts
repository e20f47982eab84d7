import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import { normalize } from "../norm-nodes.ts";
import { FULL_MASK, maskName } from "../run-inputs.ts";
import { type DecoderGraph, vectorInput } from "../weight-input.ts";
import { convolve } from "./convolution-nodes.ts";
import { type MixerNodes, wholeSequenceNodes } from "./mixer-nodes.ts";
import { decaysBetween, headsFirst, sharedHeads, silu, timeGates, tokensFirst } from "./recurrence-nodes.ts";
import type { Mamba2 } from "../../../model/mixer-description.ts";

export function mamba2Nodes(mixer: Mamba2): MixerNodes {
  return wholeSequenceNodes({
    mask: FULL_MASK,
    apply: (decoder, x) => mixMamba(decoder, mixer, x),
  });
}

/** The whole sequence as one chunk: (C Bᵀ ⊙ decays) (Δ x) + skip · x. */
function mixMamba(decoder: DecoderGraph, mixer: Mamba2, input: Value): Value {
  const { graph } = decoder;
  const { heads, headDim, groups, stateDim, norm, output } = mixer;
  const inner = heads * headDim;
  const { gate, x, b, c, timeSteps } = project(decoder, mixer, input);
  const { steps, logDecays } = timeGates(decoder, mixer, timeSteps, mixer.timeStepLimits);
  const mask = graph.input(maskName(FULL_MASK), "float32", ["tokens", "tokens"]);
  const shape = { heads, keyHeads: groups };
  const decays = decaysBetween(graph, logDecays, mask, shape);
  const met = graph.node("MatMul", [
    headsFirst(graph, c, { heads: groups, size: stateDim }),
    headsFirst(graph, b, { heads: groups, size: stateDim, turned: true }),
  ]);
  const weights = graph.node("Mul", [graph.node("Unsqueeze", [met, graph.integers([1])]), decays]);
  const perHead = graph.node("Reshape", [x, graph.integers([-1, heads, headDim])]);
  const written = graph.node("Mul", [perHead, graph.node("Unsqueeze", [steps, graph.integers([2])])]);
  const flat = graph.node("Reshape", [written, graph.integers([-1, inner])]);
  const values = sharedHeads(graph, flat, shape, headDim);
  const seen = tokensFirst(graph, graph.node("MatMul", [weights, values]), heads, headDim);
  const skips = graph.node("Reshape", [vectorInput(decoder, mixer.skip, heads), graph.integers([heads, 1])]);
  const skipped = graph.node("Reshape", [graph.node("Mul", [perHead, skips]), graph.integers([-1, inner])]);
  const result = graph.node("Add", [seen, skipped]);
  const before = norm?.isBeforeGate ? normalize(decoder, norm.norm, result, inner) : result;
  const gated = graph.node("Mul", [before, silu(graph, gate)]);
  const normed = norm && !norm.isBeforeGate ? normalize(decoder, norm.norm, gated, inner) : gated;
  return applyLinear(decoder, output, normed);
}

/** The parts of the input Linear, those of the state convolved. */
function project(decoder: DecoderGraph, mixer: Mamba2, input: Value) {
  const { graph } = decoder;
  const { heads, headDim, groups, stateDim, factors } = mixer;
  const [inner, state] = [heads * headDim, groups * stateDim];
  const split = (value: Value, widths: readonly number[]) =>
    graph.nodes("Split", [value, graph.integers(widths)], widths.length, { axis: { int: 1 } });
  const scales = [factors.gate, factors.x, factors.b, factors.c, factors.timeStep];
  const parts = split(applyLinear(decoder, mixer.input, input), [inner, inner, state, state, heads]);
  const scaled = parts.map((part, index) => {
    const factor = scales[index] ?? 1;
    return factor === 1 ? part : graph.node("Mul", [part, graph.floats(factor)]);
  });
  const [gate = "", ...rest] = scaled;
  const timeSteps = rest.pop() ?? "";
  const joined = graph.node("Concat", rest, { axis: { int: 1 } });
  const convolved = silu(graph, convolve(decoder, mixer.convolution, joined));
  const [x = "", b = "", c = ""] = split(convolved, [inner, state, state]);
  return { gate, x, b, c, timeSteps };
}
