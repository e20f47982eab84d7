// What a job is asked to do: recipe, calibration, budget. Types only; they cross a worker boundary by structured clone.

import type { ForwardProducts } from "../formats/recipe/forward-products.ts";
import type { WeightObserver } from "../formats/schemes/quantization-args.ts";
import type { RewriterName } from "../formats/modifiers/rewriters.ts";

/** Recipe as the page's controls say it, or as LLM Compressor's YAML. */
export type RecipeChoice = RecipeControls | { readonly kind: "yaml"; readonly text: string };

export interface RecipeControls {
  readonly kind: "controls";
  /** Preset scheme, any case: "W4A16"; "UNQUANTIZED" writes the weights of a quantized model as plain ones. */
  readonly scheme: string;
  /** Replaces the preset's group size; null keeps it. */
  readonly group_size: number | null;
  readonly ignore: readonly string[];
  readonly method: MethodControls;
  /** What moves factors between tensors before codes are chosen, with its defaults; absent, nothing does. */
  readonly rewriter?: RewriterName;
  /** By what AWQ tells candidates apart; absent, by Hessians. */
  readonly awq_loss?: "block";
  /** How ranges of weights are found: plain, the one of least error, or that by what the inputs are. */
  readonly observer: WeightObserver;
}

/** How codes are chosen: a modifier by its name, and what can be told to it. */
export type MethodControls =
  | { readonly name: "QuantizationModifier" }
  | ({ readonly name: "GPTQModifier" } & GptqControls);

/** LLM Compressor's names and defaults. */
export interface GptqControls {
  /** 0.01 */
  readonly dampening_frac: number;
  /** "static" */
  readonly actorder: "static" | "group" | null;
}

/** Where calibration text comes from. */
export type CalibrationSource =
  /**
   * Plain text, JSON, JSONL or Parquet, gzip-compressed or not; `column` names the field of its rows, null looks for the
   * usual ones.
   */
  | { readonly kind: "file"; readonly file: File; readonly column: string | null }
  /** The model folder's own calibration.txt. */
  | { readonly kind: "model" }
  /** Rows of a Hub data set; `column` null looks for the usual ones. */
  | {
      readonly kind: "dataset";
      readonly name: string;
      readonly config: string | null;
      readonly split: string;
      readonly column: string | null;
    }
  /** What the job of this id used: its token ids lie in its folder. */
  | { readonly kind: "stored"; readonly jobId: string };

export interface CalibrationOptions {
  readonly source: CalibrationSource;
  readonly num_calibration_samples: number;
  readonly max_seq_length: number;
  readonly shuffle_calibration_samples: boolean;
  readonly seed: number;
  /** How hidden states wait between layers: BF16 halves the space and rounds what layers see to 8 bits. */
  readonly hidden_states_dtype: "F32" | "BF16";
  /**
   * Products of the forward passes, and large Hessians: AUTO takes the GPU's matrix units (each float32 as two float16 halves) where the browser
   * offers them, their sums are right, and they are faster. Without units it takes Strassen's products (seven of half the size
   * instead of eight, in float32) for large forward products, where the budget has room to spare, at least while samples are propagated,
   * and they are clearly faster. F32 is plain float32 arithmetic on any GPU; F32_STRASSEN takes Strassen's products on any GPU, or is refused
   * where there is no room for them.
   */
  readonly forward_products: ForwardProducts;
  /**
   * Later layers see what earlier ones became where codes were chosen by statistics; those that are rounded to nearest pass
   * on their original weights, as LLM Compressor's do. False propagates the original weights of all.
   */
  readonly propagate_error: boolean;
  /** Every expert is calibrated on all tokens; false calibrates each on the tokens that are routed to it. */
  readonly moe_calibrate_all_experts: boolean;
  /** Without `moe_calibrate_all_experts`: experts that fewer tokens are routed to are rounded to nearest. */
  readonly moe_min_tokens_per_expert: number;
}

/** Of the samples, cut between batches into `of` shares, that at `index`, counted from 0. */
export interface SampleShare {
  readonly index: number;
  readonly of: number;
}

/**
 * Several jobs compress one model together: each runs a share of the samples through all layers, and chooses the codes of a
 * share of each layer's modules. What they tell each other goes through files at an address, which GET, HEAD, PUT and DELETE
 * reach. The first of them writes the result.
 */
export interface JobShare extends SampleShare {
  readonly exchange: string;
}

/** What of a model one job of several does; `npm run merge` joins what they write. */
export type JobPart =
  /**
   * Layers of the decoder by number, the last one included. `forwardProducts` is what the forward passes must run on, those of
   * the hidden states that the other parts begin with.
   */
  | {
      readonly kind: "layers";
      readonly first: number;
      readonly last: number;
      readonly forwardProducts?: string;
    }
  /** What belongs to none of them: embedding, final norm, head, encoders of images and sound, small files. */
  | { readonly kind: "rest" }
  /**
   * Nothing is quantized: samples, a share of them if one is named, run through the original model, and their hidden states
   * in front of these layers are kept.
   */
  | { readonly kind: "states"; readonly at: readonly number[]; readonly share?: SampleShare };

export interface JobOptions {
  readonly recipe: RecipeChoice;
  /** Null for data-free recipes. */
  readonly calibration: CalibrationOptions | null;
  readonly gpuBudgetBytes: number;
  /**
   * What layers and waiting hidden states of a calibrated job may take of the page's memory, beyond which they lie in files;
   * absent, what a browser gives a page.
   */
  readonly hostBudgetBytes?: number;
  /** Keeps the source's chunks in IndexedDB after their layer is finished. */
  readonly keepSource: boolean;
  /**
   * More recipes, each for a result of its own: the model comes once for all of them, and so do the statistics that they
   * quantize from.
   */
  readonly beside?: readonly RecipeChoice[];
  /**
   * The recipe whose error later layers see, where that is not the job's own; absent, the first of the run that chooses codes
   * by a text.
   */
  readonly along?: RecipeChoice;
  /** The part that is done; absent, the whole model is. */
  readonly part?: JobPart;
  /**
   * Hidden states in front of the part's first layer, where the recipe calibrates and the part begins behind layer 0: a file
   * for each share of the samples.
   */
  readonly states?: readonly File[];
  /** What this job does of one that several do together; absent, it does all. */
  readonly share?: JobShare;
}
