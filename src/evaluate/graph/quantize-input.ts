// Activations as a quantized model rounds them while it runs (compressed-tensors `quantization/lifecycle/forward.py`):
// quantized and dequantized again in float32. What cannot be said in ONNX's operators is left alone and told.

import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { Value } from "./encode-model.ts";
import { type DecoderGraph, vectorInput } from "./weight-input.ts";
import type { OnnxGraph } from "./onnx-graph.ts";
import type { Linear } from "../../model/weight-description.ts";

/** Mantissa bits and least exponent of the floats that activations are rounded to. */
const FLOATS = { 8: { largest: 448, mantissa: 3, leastExponent: -6 } } as const;
/** Keeps a token of zeros from dividing by zero (compressed-tensors takes the dtype's epsilon). */
const LEAST_SCALE = 1.1920929e-7;

/** True for the activation arguments that the graph rounds as the engines do. */
export function isSimulated(args: QuantizationArgs): boolean {
  const isKnownType = args.type === "int" || args.num_bits === 8;
  if (!isKnownType || args.dynamic === "local") return false;
  if (args.dynamic)
    return args.strategy === "token" || (args.strategy === "group" && args.scale_dtype === null);
  return args.strategy === "tensor" && args.symmetric;
}

/** x as the Linear sees it. */
export function quantizeInput(decoder: DecoderGraph, linear: Linear, x: Value): Value {
  const quantization = decoder.plan.inputQuantization(linear);
  if (!quantization || !isSimulated(quantization.args)) return x;
  const { args, scale } = quantization;
  const key = `${x} ${JSON.stringify(args)} ${scale ?? ""}`;
  const known = decoder.quantized.get(key);
  if (known !== undefined) return known;
  const rounded =
    scale === null
      ? roundDynamic(decoder.graph, args, x, linear.columns)
      : roundTo(decoder.graph, args, x, vectorInput(decoder, scale, 1));
  decoder.quantized.set(key, rounded);
  return rounded;
}

/** A scale for each token, or for each run of `group_size` values of it. */
function roundDynamic(graph: OnnxGraph, args: QuantizationArgs, x: Value, columns: number): Value {
  const group = args.strategy === "group" ? (args.group_size ?? columns) : columns;
  const runs = group === columns ? x : graph.node("Reshape", [x, graph.integers([-1, group])]);
  const rounded = args.symmetric ? roundSymmetric(graph, args, runs) : roundAsymmetric(graph, args, runs);
  return group === columns ? rounded : graph.node("Reshape", [rounded, graph.integers([-1, columns])]);
}

function roundSymmetric(graph: OnnxGraph, args: QuantizationArgs, x: Value): Value {
  const amax = reduce(graph, "ReduceMax", graph.node("Abs", [x]));
  const half = args.type === "int" ? (2 ** args.num_bits - 1) / 2 : FLOATS[8].largest;
  const scale = graph.node("Max", [graph.node("Div", [amax, graph.floats(half)]), graph.floats(LEAST_SCALE)]);
  return roundTo(graph, args, x, scale);
}

function roundAsymmetric(graph: OnnxGraph, args: QuantizationArgs, x: Value): Value {
  const least = graph.node("Min", [reduce(graph, "ReduceMin", x), graph.floats(0)]);
  const largest = graph.node("Max", [reduce(graph, "ReduceMax", x), graph.floats(0)]);
  const steps = 2 ** args.num_bits - 1;
  const scale = graph.node("Max", [
    graph.node("Div", [graph.node("Sub", [largest, least]), graph.floats(steps)]),
    graph.floats(LEAST_SCALE),
  ]);
  const [low, high] = [-(2 ** (args.num_bits - 1)), 2 ** (args.num_bits - 1) - 1];
  const fromLow = graph.node("Sub", [graph.floats(low), graph.node("Div", [least, scale])]);
  const zero = clip(graph, graph.node("Round", [fromLow]), low, high);
  const shifted = graph.node("Add", [graph.node("Div", [x, scale]), zero]);
  const codes = clip(graph, graph.node("Round", [shifted]), low, high);
  return graph.node("Mul", [graph.node("Sub", [codes, zero]), scale]);
}

/** scale · round(x / scale), within the range of the type. */
function roundTo(graph: OnnxGraph, args: QuantizationArgs, x: Value, scale: Value): Value {
  const scaled = graph.node("Div", [x, scale]);
  if (args.type === "float") {
    const { largest } = FLOATS[8];
    return graph.node("Mul", [roundFloat(graph, clip(graph, scaled, -largest, largest)), scale]);
  }
  const half = 2 ** (args.num_bits - 1);
  return graph.node("Mul", [clip(graph, graph.node("Round", [scaled]), -half, half - 1), scale]);
}

/**
 * The nearest e4m3 value. Normal numbers by Veltkamp's splitting, which rounds to 4 significant bits in three float32
 * operations; below the least normal number the steps are even.
 */
function roundFloat(graph: OnnxGraph, x: Value): Value {
  const { mantissa, leastExponent } = FLOATS[8];
  const wide = graph.node("Mul", [x, graph.floats(2 ** (23 - mantissa) + 1)]);
  const normal = graph.node("Sub", [wide, graph.node("Sub", [wide, x])]);
  const steps = 2 ** (mantissa - leastExponent);
  const even = graph.node("Round", [graph.node("Mul", [x, graph.floats(steps)])]);
  const subnormal = graph.node("Mul", [even, graph.floats(1 / steps)]);
  const isSmall = graph.node("Less", [graph.node("Abs", [x]), graph.floats(2 ** leastExponent)]);
  return graph.node("Where", [isSmall, subnormal, normal]);
}

function reduce(graph: OnnxGraph, operator: "ReduceMax" | "ReduceMin", x: Value): Value {
  return graph.node(operator, [x, graph.integers([-1])], { keepdims: { int: 1 } });
}

function clip(graph: OnnxGraph, x: Value, least: number, largest: number): Value {
  return graph.node("Clip", [x, graph.floats(least), graph.floats(largest)]);
}
