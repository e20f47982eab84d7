// A decoder as data: config.json and tensor names turned into norms, mixers, MLP or experts. Executors read it (WGSL in
// calibrate/forward, an ONNX graph in evaluate); nothing here knows of either.

import type { Linear, Norm } from "./weight-description.ts";
import type { Mixer } from "./mixer-description.ts";

/** gelu is the exact one (erf), gelu_tanh its tanh approximation, relu2 the square of relu. */
export type ActivationFunction = "silu" | "gelu" | "gelu_tanh" | "relu" | "relu2";

/** xIELU (arXiv 2411.13010) has learned parameters, each a tensor of one value. */
export interface XieluActivation {
  readonly kind: "xielu";
  readonly alphaP: string;
  readonly alphaN: string;
  readonly beta: string;
  readonly eps: string;
}

/**
 * gate · sigmoid(alpha · gate) · (up + 1), with gate at most `limit` and up within ±`limit`: not an activation that is
 * multiplied by up, so that only MLPs with a gate have it (gpt-oss).
 */
export interface ClampedSwiglu {
  readonly kind: "clamped-swiglu";
  readonly alpha: number;
  readonly limit: number;
}

export type Activation = ActivationFunction | XieluActivation | ClampedSwiglu;

export type MlpInputs =
  /** activation(gate x) · up x */
  | { readonly kind: "gated"; readonly gate: Linear; readonly up: Linear }
  /** The same from one Linear whose rows are gate, then up. */
  | { readonly kind: "fused"; readonly gateUp: Linear }
  /** activation(up x) */
  | { readonly kind: "plain"; readonly up: Linear };

export interface Mlp {
  readonly kind: "mlp";
  readonly activation: Activation;
  readonly intermediateSize: number;
  readonly inputs: MlpInputs;
  readonly down: Linear;
  /** Factors of the gate before its activation, and of the output (Falcon-H1); absent: 1. */
  readonly factors?: { readonly gate: number; readonly output: number };
}

/** How the router's logits become experts and weights. */
export interface Routing {
  readonly topK: number;
  /**
   * "sparsemixer" (arXiv 2409.12136) chooses two experts one after the other, each with its softmax over the logits that
   * come within 2 · jitter of the largest that is left, relative to the larger magnitude.
   */
  readonly scoring: "softmax" | "sigmoid" | { readonly kind: "sparsemixer"; readonly jitter: number };
  /** Tensor of one value an expert that is added to the scores for the choice, not for the weights; or null. */
  readonly correction: string | null;
  /**
   * Experts come in equal groups; only those of the `kept` best groups are chosen. A group counts as much as its best
   * score, or as the sum of its best two. Null where there is one group.
   */
  readonly groups: { readonly count: number; readonly kept: number; readonly by: "best" | "best-two" } | null;
  /** The chosen experts' scores are divided by their sum. */
  readonly normalizeTopK: boolean;
  /** Factor of the weights. */
  readonly scale: number;
  /** Tensor of one more factor for each expert's weight; absent in most families. */
  readonly expertScales?: string;
}

/** Mixture of experts: each token goes to the `topK` experts with the best scores of the router's logits. */
export interface Experts extends Routing {
  readonly kind: "experts";
  /** (experts, hidden); never quantized. */
  readonly router: Linear;
  /** Weights multiply the experts' inputs instead of their outputs (Llama 4). */
  readonly weighsInputs: boolean;
  readonly experts: readonly Mlp[];
  readonly shared: SharedExpert | null;
  /** What is normed apart; absent where router, experts and the shared one see the block's input and are added up. */
  readonly apart?: ApartNorms;
}

/** Sees every token; its output is multiplied by sigmoid(gate x) if it has a gate. */
export interface SharedExpert {
  readonly mlp: Mlp;
  readonly gate: Linear | null;
}

/** Norms within a block of experts beside an MLP (Gemma 4), which is the shared expert here. */
export interface ApartNorms {
  /** The router sees this norm of the hidden states, times the factor. */
  readonly router: { readonly norm: Norm; readonly factor: number };
  /** Of the hidden states, for the shared expert. */
  readonly sharedInput: Norm;
  /** Of its output, and of the sum of the others', before both are added. */
  readonly sharedOutput: Norm;
  readonly output: Norm;
}

export type FeedForward = Mlp | Experts;

/** Norms around mixers and feed-forward; null where a family has none. Outputs are normed before they join the residual. */
export interface LayerNorms {
  readonly mixerInput: Norm | null;
  readonly mixerOutput: Norm | null;
  /** Null in parallel layers whose blocks both see what `mixerInput` gives. */
  readonly feedForwardInput: Norm | null;
  readonly feedForwardOutput: Norm | null;
}

export interface LayerDescription {
  /** "model.layers.0" */
  readonly name: string;
  readonly hiddenSize: number;
  readonly norms: LayerNorms;
  /** Each sees what `mixerInput` gives, and joins the residual on its own; none in layers that only feed forward. */
  readonly mixers: readonly Mixer[];
  readonly feedForward: FeedForward | null;
  /** x + attention(n(x)) + feedForward(n(x)) instead of one after the other. */
  readonly parallel: boolean;
  /** Factor of each block's output where it joins the residual. */
  readonly residualMultiplier: number;
  /** Tensor of one value that the layer's output is multiplied by, or null. */
  readonly outputScale: string | null;
  /** A block after the feed-forward, or null. */
  readonly tokenBlock: TokenBlock | null;
  /** Values of a row of hidden states behind the hidden ones: keys and values that layers hand to later ones. */
  readonly carriedSize: number;
  /** Tensors that files may hold and no loader reads: keys and values of layers that share another's. */
  readonly unread: readonly string[];
  /** The model's head, in what follows the decoder's layers (`head-layer.ts`): it reads the feed-forward's norm. Absent in all of those. */
  readonly head?: Linear;
}

/** hidden += norm(projection(activation(gate hidden) · input)), with an input of the layer's own for each token (Gemma 4). */
export interface TokenBlock {
  /** (size, hidden) */
  readonly gate: Linear;
  readonly activation: ActivationFunction;
  /** (hidden, size) */
  readonly projection: Linear;
  readonly norm: Norm;
}

/**
 * What token blocks are given, which depends on the token's id and the layer alone:
 * factor · (norm(scale · projection(first hidden state)) + multiplier · row of the table).
 */
export interface TokenInputs {
  /** Values that each layer gets. */
  readonly size: number;
  /** Rows are those of all layers, `size` each. Its module stands outside of the layers. */
  readonly projection: Linear;
  readonly scale: number;
  readonly norm: Norm;
  /** Columns are those of all layers. */
  readonly table: { readonly tensor: string; readonly multiplier: number };
  readonly factor: number;
}

/** Values of a token's row of hidden states, as they wait between layers. */
export function rowSize({ layers, hiddenSize }: Pick<DecoderDescription, "layers" | "hiddenSize">): number {
  return hiddenSize + (layers[0]?.carriedSize ?? 0);
}

export interface DecoderDescription {
  /** `model_type` of the text decoder. */
  readonly family: string;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  /** `max_position_embeddings`. */
  readonly maxPositions: number;
  /** Rows of the table, times the multiplier, are the first hidden states. */
  readonly embedding: { readonly tensor: string; readonly multiplier: number };
  /** Null in most families. */
  readonly tokenInputs: TokenInputs | null;
  readonly layers: readonly LayerDescription[];
  readonly finalNorm: Norm;
  /** logits = softCap(scale · head(norm(x))). */
  readonly head: {
    readonly linear: Linear;
    /** The head is the embedding's table. */
    readonly tied: boolean;
    readonly scale: number;
    readonly softCap: number | null;
  };
}
