// What mixes the tokens of a sequence, as data: attention of each kind, convolutions, recurrences; and rotary embedding.

import type { Linear, Norm } from "./weight-description.ts";

/** How rotary frequencies differ from theta^(−2i/dims) (transformers `modeling_rope_utils.py`). */
export type RotaryScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  /** NTK: the base grows with sequences longer than `maxPositions`. */
  | { readonly type: "dynamic"; readonly factor: number; readonly maxPositions: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
    }
  | {
      readonly type: "longrope";
      readonly originalMaxPositions: number;
      /** One factor a frequency, for sequences up to `originalMaxPositions`. */
      readonly shortFactors: readonly number[];
      /** The same for longer ones. */
      readonly longFactors: readonly number[];
    }
  /** The first `rotated` of `dims / 2` frequencies turn, with exponents over the whole head; the others stand still. */
  | { readonly type: "proportional"; readonly factor: number; readonly rotated: number };

/** Rotary position embedding; `inverseFrequencies` (rotary.ts) turns it into numbers. Layers that share it share the object. */
export interface Rotary {
  readonly theta: number;
  /** Values of each head that are rotated: the first ones. */
  readonly dims: number;
  /** Pairs are neighbours (2i, 2i + 1) instead of halves (i, i + dims / 2). */
  readonly interleaved: boolean;
  /** Factor of cosines and sines. */
  readonly attentionFactor: number;
  readonly scaling: RotaryScaling;
}

export type AttentionInputs =
  /** Keys and values are those that an earlier layer has handed on. */
  | { readonly kind: "query"; readonly query: Linear }
  /** One Linear may give both keys and values. */
  | { readonly kind: "separate"; readonly query: Linear; readonly key: Linear; readonly value: Linear }
  /**
   * One Linear. Its rows come in `groups` equal groups, each with its share of the query heads, then of the key heads,
   * then of the value heads.
   */
  | { readonly kind: "fused"; readonly queryKeyValue: Linear; readonly groups: number };

/** A Linear of its own, or rows of the query's Linear: each head's queries, then its gate. */
export type AttentionGate =
  | { readonly kind: "separate"; readonly linear: Linear }
  | { readonly kind: "with-queries" };

/** Scores of position p are multiplied by 1 + slope · log(1 + floor((p + offset) / every)). */
export interface AttentionTemperature {
  readonly slope: number;
  readonly every: number;
  readonly offset: 0 | 1;
}

/** Causal attention; query heads share key heads in runs of heads / kvHeads. */
export interface Attention {
  readonly kind: "attention";
  /** Module name ("model.layers.0.self_attn"). */
  readonly module: string;
  readonly heads: number;
  readonly kvHeads: number;
  /** Values of a query and a key. */
  readonly headDim: number;
  /** Values of a value. */
  readonly valueDim: number;
  readonly inputs: AttentionInputs;
  /** Sees the input too: sigmoid(gate x) multiplies the result, value by value, before the output. Null in most families. */
  readonly gate: AttentionGate | null;
  readonly output: Linear;
  /** Applied to queries and keys of each head, before rotation or after it. */
  readonly queryNorm: Norm | null;
  readonly keyNorm: Norm | null;
  readonly normAfterRotary: boolean;
  /** Applied to values of each head; null in most families. */
  readonly valueNorm: Norm | null;
  /** Null in layers without positions. */
  readonly rotary: Rotary | null;
  /** Factor of q · k. */
  readonly scale: number;
  /** scores = cap · tanh(scores / cap), or null. */
  readonly softCap: number | null;
  /** A token sees itself and the `slidingWindow` − 1 tokens before it; null sees all. */
  readonly slidingWindow: number | null;
  /** Sequences are cut into chunks of so many tokens that do not see each other, or null. */
  readonly chunk: number | null;
  /** Tensor of one logit a head that takes part in its softmax and gives nothing, or null. */
  readonly sinks: string | null;
  readonly temperature: AttentionTemperature | null;
  /** Factor of the values. */
  readonly valueScale: number;
  /** Column of the hidden states' rows where keys, then values, are handed to later layers, or taken from; or null. */
  readonly carried: number | null;
}

/** Causal convolution of each channel along the tokens: y_t = Σ_j weight[channel, j] · x_(t − taps + 1 + j) + bias. */
export interface Convolution {
  /** Tensor (channels, 1, taps). */
  readonly weight: string;
  /** Tensor of the bias, or null. */
  readonly bias: string | null;
  readonly channels: number;
  readonly taps: number;
}

/** C · convolution(B · x), with B, C and x from one Linear (LFM2). */
export interface ShortConvolution {
  readonly kind: "short-convolution";
  readonly module: string;
  /** Rows are B, then C, then x. */
  readonly input: Linear;
  readonly convolution: Convolution;
  readonly output: Linear;
}

export type DeltaInputs =
  | {
      readonly kind: "separate";
      /** Rows are queries, keys and values of all heads. */
      readonly queryKeyValue: Linear;
      readonly gate: Linear;
      readonly beta: Linear;
      readonly timeStep: Linear;
    }
  /** Rows come in a group for each key head: its query, its key, its values, their gates; and betas, then time steps. */
  | { readonly kind: "grouped"; readonly queryKeyValueGate: Linear; readonly betaTimeStep: Linear };

/**
 * Gated delta rule (arXiv 2412.06464): queries, keys and values are convolved and go through silu; queries and keys are
 * brought to length one. S ← e^g S, S ← S + β k (v − Sᵀ k)ᵀ, output norm(Sᵀ q / √keyDim) · silu(gate) with
 * g = −e^decay · softplus(timeStep + bias) and β a sigmoid.
 */
export interface GatedDeltaNet {
  readonly kind: "gated-delta-net";
  readonly module: string;
  /** Heads of values, and of queries and keys, which runs of heads share. */
  readonly heads: number;
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly inputs: DeltaInputs;
  /** Over queries, keys and values. */
  readonly convolution: Convolution;
  /** Tensors of one value a head. */
  readonly decay: string;
  readonly timeStepBias: string;
  /** Over each head's values. */
  readonly norm: Norm;
  readonly output: Linear;
}

/**
 * Mamba-2 (arXiv 2405.21060): S ← e^(−e^decay · Δ) S + Δ B xᵀ, output Sᵀ C + skip · x, with x, B and C convolved and through
 * silu, and Δ = softplus(timeStep + bias) within limits.
 */
export interface Mamba2 {
  readonly kind: "mamba-2";
  readonly module: string;
  readonly heads: number;
  readonly headDim: number;
  /** B and C come in groups that runs of heads share. */
  readonly groups: number;
  readonly stateDim: number;
  /** Rows are the gate, x, B of all groups, C of all groups, and time steps. */
  readonly input: Linear;
  /** Factors of the input's parts (Falcon-H1), each 1 in other families. */
  readonly factors: Readonly<Record<"gate" | "x" | "b" | "c" | "timeStep", number>>;
  /** Over x, B and C. */
  readonly convolution: Convolution;
  /** Tensors of one value a head. */
  readonly decay: string;
  readonly timeStepBias: string;
  readonly skip: string;
  readonly timeStepLimits: { readonly least: number; readonly largest: number };
  /** The result times silu(gate), normed after that or before it; null leaves the norm out. */
  readonly norm: { readonly norm: Norm; readonly isBeforeGate: boolean } | null;
  readonly output: Linear;
}

/** Attention whose queries, keys and values come from low-rank projections (MLA, arXiv 2405.04434). */
export interface LatentAttention {
  readonly kind: "latent-attention";
  readonly module: string;
  readonly heads: number;
  /** Values of a query and a key: the head's own, then those that are rotated. */
  readonly headDim: number;
  /** The last ones, which keys of all heads share. */
  readonly rotaryDim: number;
  readonly valueDim: number;
  /** Values of the latent keys and values. */
  readonly rank: number;
  readonly query:
    | { readonly kind: "direct"; readonly linear: Linear }
    | { readonly kind: "low-rank"; readonly down: Linear; readonly norm: Norm; readonly up: Linear };
  /** Rows are the latent, then the shared part of the keys. */
  readonly keyValueDown: Linear;
  readonly keyValueNorm: Norm;
  /** Rows are each head's key, then its value. */
  readonly keyValueUp: Linear;
  readonly rotary: Rotary;
  readonly scale: number;
  readonly output: Linear;
}

/** What mixes the tokens of a sequence. Its output, times the factor, joins the residual. */
export type Mixer = (Attention | ShortConvolution | GatedDeltaNet | Mamba2 | LatentAttention) & {
  readonly outputFactor?: number;
};
