import { invariant } from "../../errors.ts";
import type { Activation, ClampedSwiglu, XieluActivation } from "../../model/decoder-description.ts";
import type { Value } from "./encode-model.ts";
import { type DecoderGraph, vectorInput } from "./weight-input.ts";

/** activation(gate) · up, or what a clamped swiglu makes of both. */
export function gatedUnit(decoder: DecoderGraph, activation: Activation, gate: Value, up: Value): Value {
  if (typeof activation !== "string" && activation.kind === "clamped-swiglu") {
    return clampedSwiglu(decoder, activation, gate, up);
  }
  return decoder.graph.node("Mul", [activate(decoder, activation, gate), up]);
}

function clampedSwiglu(
  { graph }: DecoderGraph,
  { alpha, limit }: ClampedSwiglu,
  gate: Value,
  up: Value,
): Value {
  const most = graph.node("Min", [gate, graph.floats(limit)]);
  const open = graph.node("Sigmoid", [graph.node("Mul", [most, graph.floats(alpha)])]);
  const within = graph.node("Max", [graph.node("Min", [up, graph.floats(limit)]), graph.floats(-limit)]);
  const factor = graph.node("Add", [within, graph.floats(1)]);
  return graph.node("Mul", [graph.node("Mul", [most, open]), factor]);
}

export function activate(decoder: DecoderGraph, activation: Activation, x: Value): Value {
  if (typeof activation !== "string") {
    invariant(activation.kind === "xielu", "MLPs without a gate have no clamped swiglu");
    return xielu(decoder, activation, x);
  }
  const { graph } = decoder;
  switch (activation) {
    case "silu":
      return graph.node("Mul", [x, graph.node("Sigmoid", [x])]);
    case "gelu":
      return graph.node("Gelu", [x], { approximate: { text: "none" } });
    case "gelu_tanh":
      return graph.node("Gelu", [x], { approximate: { text: "tanh" } });
    case "relu":
      return graph.node("Relu", [x]);
    case "relu2": {
      const positive = graph.node("Relu", [x]);
      return graph.node("Mul", [positive, positive]);
    }
  }
}

/**
 * softplus(alpha_p) x² for positive x, else (beta + softplus(alpha_n)) (e^min(x, eps) − 1 − x), plus beta x. Elu is
 * e^x − 1 for the negative numbers that it is given, by a formula that is exact close to zero.
 */
function xielu(decoder: DecoderGraph, { alphaP, alphaN, beta, eps }: XieluActivation, x: Value): Value {
  const { graph } = decoder;
  const parameter = (tensor: string) => vectorInput(decoder, tensor, 1);
  // log(1 + e^x): alphas are of the order of one.
  const softplus = (value: Value) =>
    graph.node("Log", [graph.node("Add", [graph.node("Exp", [value]), graph.floats(1)])]);
  const slope = parameter(beta);
  const positive = graph.node("Mul", [softplus(parameter(alphaP)), graph.node("Mul", [x, x])]);
  const power = graph.node("Elu", [graph.node("Min", [x, parameter(eps)])]);
  const factor = graph.node("Add", [slope, softplus(parameter(alphaN))]);
  const negative = graph.node("Mul", [graph.node("Sub", [power, x]), factor]);
  const isPositive = graph.node("Greater", [x, graph.floats(0)]);
  const chosen = graph.node("Where", [isPositive, positive, negative]);
  return graph.node("Add", [chosen, graph.node("Mul", [slope, x])]);
}
