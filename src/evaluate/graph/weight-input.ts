// What a graph is fed with besides hidden states: weights under short names, so that layers of one shape have one and the
// same graph, byte for byte, and share a session.

import type { QuantizationArgs } from "../../formats/schemes/quantization-args.ts";
import type { Value } from "./encode-model.ts";
import type { OnnxGraph } from "./onnx-graph.ts";
import type { Linear } from "../../model/weight-description.ts";
import type { AttentionTemperature, Rotary } from "../../model/mixer-description.ts";

/** How a Linear's weight is handed to onnxruntime. */
export type LinearLayout =
  /** float32 (rows, columns). */
  | { readonly kind: "dense" }
  /** Codes as MatMulNBits takes them: uint8 (rows, columns / blockSize, blockSize · bits / 8), low bits first. */
  | {
      readonly kind: "nbits";
      readonly bits: 4 | 8;
      /** A power of two from 16 up. */
      readonly blockSize: number;
      readonly zeroPoints: boolean;
    };

export type NbitsLayout = Extract<LinearLayout, { kind: "nbits" }>;

/** What a Linear does to its input first (W8A8, FP8); null if that is nothing. */
export interface InputQuantization {
  readonly args: QuantizationArgs;
  /** Tensor of the measured scale, or null where scales follow the input. */
  readonly scale: string | null;
}

/** One weight input of a graph: its name there, and where its values come from. */
export type WeightInput =
  /** float32 values of a tensor, `added` to each. */
  | {
      readonly kind: "vector";
      readonly input: string;
      readonly tensor: string;
      readonly values: number;
      readonly added: number;
    }
  /** Rows of a dense weight. */
  | {
      readonly kind: "rows";
      readonly input: string;
      readonly linear: Linear;
      readonly firstRow: number;
      readonly rows: number;
    }
  | {
      readonly kind: "codes" | "scales" | "zeros";
      readonly input: string;
      readonly linear: Linear;
      readonly layout: NbitsLayout;
    }
  /** (positions, dims / 2) */
  | {
      readonly kind: "cosines" | "sines";
      readonly input: string;
      readonly rotary: Rotary;
      /** Factor of each position's row: scores follow the queries that are rotated by it. */
      readonly temperature: AttentionTemperature | null;
    };

/** How a model's Linears are stored, as far as the graph must know. */
export interface LinearPlan {
  layout(linear: Linear): LinearLayout;
  inputQuantization(linear: Linear): InputQuantization | null;
  /** Dense weights of more bytes come in several inputs. */
  readonly maxInputBytes: number;
}

/** A graph in the making, with what it will be fed. */
export interface DecoderGraph {
  readonly graph: OnnxGraph;
  readonly plan: LinearPlan;
  readonly weights: WeightInput[];
  /** Inputs that were quantized already: q, k and v share one. */
  readonly quantized: Map<string, Value>;
  /** Keys and values that layers hand to later ones, by their column in the rows of hidden states. */
  readonly carried: Map<number, CarriedValues>;
}

export interface CarriedValues {
  readonly keys: Value;
  readonly values: Value;
}

export function weightName({ weights }: DecoderGraph): string {
  return `w${weights.length}`;
}

/** Declares a vector of weights. */
export function vectorInput(decoder: DecoderGraph, tensor: string, values: number, added = 0): Value {
  const input = weightName(decoder);
  decoder.weights.push({ kind: "vector", input, tensor, values, added });
  return decoder.graph.input(input, "float32", [values]);
}
