// Pieces that family descriptions are put together from: the shapes and names that most of transformers' models share.

import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { type Config, DATA_FREE_HINT, type Sizes } from "./config-fields.ts";
import type {
  Activation,
  DecoderDescription,
  LayerDescription,
  LayerNorms,
  Mlp,
  MlpInputs,
  TokenInputs,
} from "../decoder-description.ts";
import type { Linear, Norm } from "../weight-description.ts";
import type {
  Attention,
  AttentionGate,
  AttentionInputs,
  AttentionTemperature,
  Rotary,
} from "../mixer-description.ts";

/** The tensors of a checkpoint, as far as a family must look at them. */
export interface DecoderTensors {
  /** What stands before "layers.0": "model.", or "model.language_model." inside a multimodal model. */
  readonly prefix: string;
  /** Module of the embedding, after the prefix: "embed_tokens". */
  readonly embedding: string;
  has(name: string): boolean;
}

/** What a family says of itself; names outside the layers are added by `describeDecoder`. */
export type DecoderBody = Pick<DecoderDescription, "layers" | "finalNorm"> & {
  readonly sizes: Sizes;
  readonly tied: boolean;
  readonly embeddingMultiplier?: number;
  readonly tokenInputs?: TokenInputs | null;
  /** Name of the head where it has one of its own; default lm_head. */
  readonly headName?: string;
  readonly headBias?: boolean;
  readonly logitScale?: number;
  readonly logitSoftCap?: number | null;
};

export type DescribeFamily = (config: Config, tensors: DecoderTensors) => DecoderBody;

export function linear(module: string, rows: number, columns: number, bias = false): Linear {
  return {
    module,
    rows,
    columns,
    bias: bias ? `${module}.bias` : null,
    source: { tensor: `${module}.weight`, shape: [rows, columns], firstRow: 0 },
  };
}

export function rmsNorm(module: string, size: number, eps: number, weightOffset: 0 | 1 = 0): Norm {
  const weight = `${module}.weight`;
  return { kind: "rms", size, eps, weight, weightSize: size, weightOffset, bias: null };
}

/** An RMS norm without a weight. */
export function plainNorm(size: number, eps: number): Norm {
  return { kind: "rms", size, eps, weight: null, weightSize: size, weightOffset: 0, bias: null };
}

export function layerNorm(
  module: string,
  size: number,
  eps: number,
  bias: boolean,
  weightOffset: 0 | 1 = 0,
): Norm {
  return {
    kind: "layer",
    size,
    eps,
    weight: `${module}.weight`,
    weightSize: size,
    weightOffset,
    bias: bias ? `${module}.bias` : null,
  };
}

export interface HeadShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Heads, with transformers' defaults. @throws MalformedModelError if they do not divide what they must. */
export function headShape(sizes: Sizes): HeadShape {
  const { hidden_size, num_attention_heads: heads } = sizes;
  const kvHeads = sizes.num_key_value_heads ?? heads;
  const headDim = sizes.head_dim ?? hidden_size / heads;
  if (heads % kvHeads !== 0) {
    throw new MalformedModelError(
      `config.json: num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}.`,
    );
  }
  if (!Number.isInteger(headDim) || headDim % 4 !== 0) {
    throw new MalformedModelError(
      `config.json: hidden_size ${hidden_size} over num_attention_heads ${heads} gives heads of ${headDim} values; that must be a multiple of 4.`,
    );
  }
  return { heads, kvHeads, headDim };
}

export type AttentionOptions = HeadShape & {
  readonly hiddenSize: number;
  readonly rotary: Rotary | null;
  /** Biases of q, k and v. */
  readonly bias?: boolean;
  readonly outputBias?: boolean;
  readonly queryNorm?: Norm | null;
  readonly keyNorm?: Norm | null;
  readonly valueNorm?: Norm | null;
  /** The keys' Linear gives the values, too. */
  readonly keysAreValues?: boolean;
  /** Default 1 / √headDim. */
  readonly scale?: number;
  readonly softCap?: number | null;
  readonly slidingWindow?: number | null;
  readonly chunk?: number | null;
  readonly normAfterRotary?: boolean;
  /** Values of a value; default headDim. */
  readonly valueDim?: number;
  readonly sinks?: string | null;
  readonly temperature?: AttentionTemperature | null;
  readonly valueScale?: number;
  readonly carried?: number | null;
  readonly gate?: AttentionGate | null;
  /** Name of the output Linear; default o_proj. */
  readonly outputName?: string;
};

/** Attention with the Linears q_proj, k_proj, v_proj and o_proj. */
export function attention(module: string, options: AttentionOptions): Attention {
  const { heads, kvHeads, headDim, valueDim = headDim, hiddenSize, bias = false } = options;
  const queryDim = options.gate?.kind === "with-queries" ? 2 * headDim : headDim;
  const key = linear(`${module}.k_proj`, kvHeads * headDim, hiddenSize, bias);
  const inputs: AttentionInputs = {
    kind: "separate",
    query: linear(`${module}.q_proj`, heads * queryDim, hiddenSize, bias),
    key,
    value: options.keysAreValues ? key : linear(`${module}.v_proj`, kvHeads * valueDim, hiddenSize, bias),
  };
  return attentionWith(module, inputs, options);
}

/** Attention with given input Linears, and o_proj. */
export function attentionWith(module: string, inputs: AttentionInputs, options: AttentionOptions): Attention {
  const { heads, kvHeads, headDim, valueDim = headDim, hiddenSize } = options;
  const output = `${module}.${options.outputName ?? "o_proj"}`;
  return {
    kind: "attention",
    module,
    heads,
    kvHeads,
    headDim,
    valueDim,
    inputs,
    gate: options.gate ?? null,
    output: linear(output, hiddenSize, heads * valueDim, options.outputBias ?? false),
    queryNorm: options.queryNorm ?? null,
    keyNorm: options.keyNorm ?? null,
    valueNorm: options.valueNorm ?? null,
    normAfterRotary: options.normAfterRotary ?? false,
    rotary: options.rotary,
    scale: options.scale ?? headDim ** -0.5,
    softCap: options.softCap ?? null,
    slidingWindow: options.slidingWindow ?? null,
    chunk: options.chunk ?? null,
    sinks: options.sinks ?? null,
    temperature: options.temperature ?? null,
    valueScale: options.valueScale ?? 1,
    carried: options.carried ?? null,
  };
}

export interface MlpShape {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly activation: Activation;
  readonly bias?: boolean;
}

/** activation(gate_proj x) · up_proj x, then down_proj. */
export function gatedMlp(module: string, shape: MlpShape): Mlp {
  const { hiddenSize, intermediateSize, bias = false } = shape;
  const inputs: MlpInputs = {
    kind: "gated",
    gate: linear(`${module}.gate_proj`, intermediateSize, hiddenSize, bias),
    up: linear(`${module}.up_proj`, intermediateSize, hiddenSize, bias),
  };
  return mlpWith(inputs, linear(`${module}.down_proj`, hiddenSize, intermediateSize, bias), shape);
}

/** activation(up_proj x), then down_proj; the Linears may have other names. */
export function plainMlp(module: string, shape: MlpShape, names = { up: "up_proj", down: "down_proj" }): Mlp {
  const { hiddenSize, intermediateSize, bias = false } = shape;
  const up = linear(`${module}.${names.up}`, intermediateSize, hiddenSize, bias);
  const down = linear(`${module}.${names.down}`, hiddenSize, intermediateSize, bias);
  return mlpWith({ kind: "plain", up }, down, shape);
}

/** activation(gate x) · up x from one Linear, gate_up_proj, then down_proj. */
export function fusedMlp(module: string, shape: MlpShape): Mlp {
  const { hiddenSize, intermediateSize, bias = false } = shape;
  const gateUp = linear(`${module}.gate_up_proj`, 2 * intermediateSize, hiddenSize, bias);
  const down = linear(`${module}.down_proj`, hiddenSize, intermediateSize, bias);
  return mlpWith({ kind: "fused", gateUp }, down, shape);
}

export function mlpWith(inputs: MlpInputs, down: Linear, shape: MlpShape): Mlp {
  const { intermediateSize, activation } = shape;
  return { kind: "mlp", activation, intermediateSize, inputs, down };
}

/** input_layernorm before attention and post_attention_layernorm before the MLP, as Llama names them. */
export function preNorms(layer: string, norm: (module: string) => Norm): LayerNorms {
  return {
    mixerInput: norm(`${layer}.input_layernorm`),
    mixerOutput: null,
    feedForwardInput: norm(`${layer}.post_attention_layernorm`),
    feedForwardOutput: null,
  };
}

/** One norm at each block's input and one at its output, as Gemma 2 has them. */
export function sandwichNorms(layer: string, norm: (module: string) => Norm): LayerNorms {
  return {
    mixerInput: norm(`${layer}.input_layernorm`),
    mixerOutput: norm(`${layer}.post_attention_layernorm`),
    feedForwardInput: norm(`${layer}.pre_feedforward_layernorm`),
    feedForwardOutput: norm(`${layer}.post_feedforward_layernorm`),
  };
}

/** Norms at the blocks' outputs alone, as OLMo 2 has them. */
export function postNorms(layer: string, norm: (module: string) => Norm): LayerNorms {
  return { ...sandwichNorms(layer, norm), mixerInput: null, feedForwardInput: null };
}

/** input_layernorm before both blocks of a parallel layer. */
export function sharedNorm(layer: string, norm: (module: string) => Norm): LayerNorms {
  return { ...preNorms(layer, norm), feedForwardInput: null };
}

/** What most families' layers have none of. */
const PLAIN_LAYER = {
  parallel: false,
  residualMultiplier: 1,
  outputScale: null,
  tokenBlock: null,
  carriedSize: 0,
  unread: [],
} satisfies Partial<LayerDescription>;

export type LayerParts = Pick<LayerDescription, "norms" | "mixers" | "feedForward"> &
  Partial<Pick<LayerDescription, keyof typeof PLAIN_LAYER>>;

/** Twice as many as the largest published models have; each takes a kilobyte of description. */
const MAX_EXPERTS = 65_536;

/**
 * Calls `describe` with each layer's name ("model.layers.0") and number.
 * @throws UnsupportedModelError if all layers together have more experts than any model.
 */
export function layers(
  tensors: DecoderTensors,
  { num_hidden_layers: count, hidden_size: hiddenSize }: Pick<Sizes, "num_hidden_layers" | "hidden_size">,
  describe: (layer: string, index: number) => LayerParts,
  list = "layers",
): LayerDescription[] {
  let experts = 0;
  return Array.from({ length: count }, (_, index) => {
    const name = `${tensors.prefix}${list}.${index}`;
    const parts = describe(name, index);
    if (parts.feedForward?.kind === "experts") experts += parts.feedForward.experts.length;
    if (experts > MAX_EXPERTS) {
      throw new UnsupportedModelError(
        `config.json asks for more than ${MAX_EXPERTS} experts in ${count} layers, which is more than any model has. ${DATA_FREE_HINT}`,
      );
    }
    return { name, hiddenSize, ...PLAIN_LAYER, ...parts };
  });
}
