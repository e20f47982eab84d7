// Rotary position embedding in ONNX.

import type { Value } from "../encode-model.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import { RUN_INPUTS } from "../run-inputs.ts";
import { type DecoderGraph, weightName } from "../weight-input.ts";
import type { AttentionTemperature, Rotary } from "../../../model/mixer-description.ts";

export interface Rotation {
  readonly rotary: Rotary;
  readonly temperature: AttentionTemperature | null;
}

/** Rotates heads of x (tokens, heads · headDim). */
export function rotate(
  decoder: DecoderGraph,
  rotation: Rotation,
  x: Value,
  heads: number,
  headDim: number,
): Value {
  const { graph } = decoder;
  const { rotary } = rotation;
  const [cosines, sines] = rotaryTables(decoder, rotation);
  const position = graph.input(RUN_INPUTS.position, "int64", [1]);
  const rotated = graph.node("RotaryEmbedding", [lift(graph, x), position, cosines, sines], {
    interleaved: { int: Number(rotary.interleaved) },
    num_heads: { int: heads },
    ...(rotary.dims === headDim ? {} : { rotary_embedding_dim: { int: rotary.dims } }),
  });
  return lower(graph, rotated);
}

function rotaryTables(decoder: DecoderGraph, { rotary, temperature }: Rotation): [Value, Value] {
  const table = (kind: "cosines" | "sines") => {
    const known = decoder.weights.find(
      (weight) => weight.kind === kind && weight.rotary === rotary && weight.temperature === temperature,
    );
    if (known) return known.input;
    const input = weightName(decoder);
    decoder.weights.push({ kind, input, rotary, temperature });
    return decoder.graph.input(input, "float32", ["positions", rotary.dims / 2]);
  };
  return [table("cosines"), table("sines")];
}

/** (tokens, columns) to (1, tokens, columns), as onnxruntime's own operators want it. */
export function lift(graph: OnnxGraph, x: Value): Value {
  return graph.node("Unsqueeze", [x, graph.integers([0])]);
}

export function lower(graph: OnnxGraph, x: Value): Value {
  return graph.node("Squeeze", [x, graph.integers([0])]);
}
