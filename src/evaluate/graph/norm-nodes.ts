import type { Value } from "./encode-model.ts";
import { type DecoderGraph, vectorInput } from "./weight-input.ts";
import type { Norm } from "../../model/weight-description.ts";

/** norm(x) of x (tokens, columns), over groups of `norm.size` neighbouring values. */
export function normalize(decoder: DecoderGraph, norm: Norm, x: Value, columns: number): Value {
  const { graph } = decoder;
  const { size, weightSize, weightOffset } = norm;
  const ones = Array.from({ length: size }, () => 1);
  const weight =
    norm.weight === null ? graph.floats(ones) : vectorInput(decoder, norm.weight, weightSize, weightOffset);
  // Heads with weights of their own: normed by ones, and multiplied afterwards.
  const isShared = weightSize === size;
  const grouped =
    size === columns ? x : graph.node("Reshape", [x, graph.integers([-1, columns / size, size])]);
  const operator = norm.kind === "rms" ? "SimplifiedLayerNormalization" : "LayerNormalization";
  const normed = graph.node(operator, [grouped, isShared ? weight : graph.floats(ones)], {
    axis: { int: -1 },
    epsilon: { float: norm.eps },
  });
  const shifted = isShared && norm.bias ? addBias(decoder, norm.bias, normed, size) : normed;
  const flat = size === columns ? shifted : graph.node("Reshape", [shifted, graph.integers([-1, columns])]);
  return isShared ? flat : graph.node("Mul", [flat, weight]);
}

function addBias(decoder: DecoderGraph, bias: string, x: Value, size: number): Value {
  return decoder.graph.node("Add", [x, vectorInput(decoder, bias, size)]);
}
