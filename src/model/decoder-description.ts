// What a decoder computes, as data: config.json and tensor names turned into norms, mixers, rotary embedding, MLP or
// experts. Executors read it (calibrate/forward in WGSL, evaluate as an ONNX graph); nothing here knows of either.

/** Where the rows of a Linear's weight lie: whole, or a run of rows of a tensor that holds several. */
export interface WeightSource {
  readonly tensor: string;
  /** Shape of that tensor; all but its last dimension, multiplied, are its rows. */
  readonly shape: readonly number[];
  /** First of the Linear's rows, with the leading dimensions flattened. */
  readonly firstRow: number;
}

/** y = x Wᵀ + b with W (rows, columns). */
export interface Linear {
  /** Module name: what targets and ignore match, and what the result's tensors are named after. */
  readonly module: string;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** Tensor of the bias, or null. */
  readonly bias: string | null;
  readonly source: WeightSource;
}

/**
 * x / rms(x) · w ("rms") or (x − mean) / deviation · w + b ("layer"), over groups of `size` neighbouring values; the
 * group's weights are the vector's values at the same place modulo `weightSize`.
 */
export interface Norm {
  readonly kind: "rms" | "layer";
  readonly size: number;
  readonly eps: number;
  /** Tensor of the weight. */
  readonly weight: string;
  /** Values of the weight tensor, flattened: `size`, or more where each head has its own. */
  readonly weightSize: number;
  /** Added to the weight before it is used: 1 where checkpoints hold w − 1 (Gemma). */
  readonly weightOffset: 0 | 1;
  /** Tensor of the bias, or null. */
  readonly bias: string | null;
}

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
  | { readonly kind: "separate"; readonly query: Linear; readonly key: Linear; readonly value: Linear }
  /** One Linear whose rows are queries, then keys, then values. */
  | { readonly kind: "fused"; readonly queryKeyValue: Linear };

/** Causal attention; query heads share key heads in runs of heads / kvHeads. */
export interface Attention {
  readonly kind: "attention";
  /** Module name ("model.layers.0.self_attn"). */
  readonly module: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly inputs: AttentionInputs;
  readonly output: Linear;
  /** Applied to queries and keys before rotation. */
  readonly queryNorm: Norm | null;
  readonly keyNorm: Norm | null;
  /** Null in layers without positions. */
  readonly rotary: Rotary | null;
  /** Factor of q · k. */
  readonly scale: number;
  /** scores = cap · tanh(scores / cap), or null. */
  readonly softCap: number | null;
  /** A token sees itself and the `slidingWindow` − 1 tokens before it; null sees all. */
  readonly slidingWindow: number | null;
}

/** What lets a token see others. What each executor needs to know of a kind: ARCHITECTURE.md, "Add to it". */
export type Mixer = Attention;

/** gelu is the exact one (erf), gelu_tanh its tanh approximation. */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "relu";

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
}

/** Mixture of experts: each token goes to the `topK` experts with the largest softmax of the router's logits. */
export interface Experts {
  readonly kind: "experts";
  /** (experts, hidden); never quantized. */
  readonly router: Linear;
  readonly topK: number;
  /** The chosen experts' probabilities are divided by their sum. */
  readonly normalizeTopK: boolean;
  readonly experts: readonly Mlp[];
  /** Sees every token; its output is multiplied by sigmoid(gate x). */
  readonly shared: { readonly mlp: Mlp; readonly gate: Linear } | null;
}

/** Norms around mixers and feed-forward; null where a family has none. Outputs are normed before they join the residual. */
export interface LayerNorms {
  readonly mixerInput: Norm | null;
  readonly mixerOutput: Norm | null;
  /** Null in parallel layers too: both blocks see what `mixerInput` gives. */
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
  /** Null in layers that only mix. */
  readonly feedForward: Mlp | Experts | null;
  /** x + mixer(n(x)) + feedForward(n(x)) instead of one after the other; only in layers that have both. */
  readonly parallel: boolean;
  /** Factor of each block's output where it joins the residual. */
  readonly residualMultiplier: number;
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
