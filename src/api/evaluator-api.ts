// The contract between the page and the evaluating worker, which is started on demand: types only.

import type { OpenedSource, SourceReference } from "./source-api.ts";

/** A model to evaluate: any source, or the result of a job as it lies in OPFS. */
export type EvaluatedReference = SourceReference | { readonly kind: "job"; readonly jobId: string };

/** Where the engine runs: a real GPU if there is one, else WebAssembly; or one of them by name. */
export type ProviderChoice = "auto" | "webgpu" | "wasm";

export type EvaluationText =
  /** Plain text, JSONL, or token ids as JSON. */
  | { readonly kind: "file"; readonly file: File }
  /** The model folder's own evaluation.txt, or a text that comes with this page. */
  | { readonly kind: "own" };

export interface EvaluationOptions {
  readonly text: EvaluationText;
  /** Longer sequences are cut into windows of so many tokens, each run by itself. */
  readonly max_seq_length: number;
  /** At most so many windows, from the first; null takes all. */
  readonly maxWindows: number | null;
  readonly provider: ProviderChoice;
  readonly gpuBudgetBytes: number;
}

export interface EvaluatedModel {
  readonly source: OpenedSource;
  /** "W4A16"-like words of config.json's schemes are not there; this is the format: "pack-quantized", or "original". */
  readonly format: string;
  readonly weightBytes: number;
  /** Of the matrices in the layers, scales and zero points included (src/plan/checkpoint/bits-per-weight.ts). */
  readonly bitsPerWeight: number;
  readonly hasTokenizer: boolean;
  readonly hasChatTemplate: boolean;
  readonly maxPositions: number;
}

export interface ModelQuality {
  readonly label: string;
  readonly perplexity: number;
  readonly weightBytes: number;
  readonly bitsPerWeight: number;
}

export interface LayerError {
  readonly layer: string;
  /** ‖quantized − original‖ / ‖original‖ of the hidden states after the layer. */
  readonly relativeError: number;
}

/** What computed hidden states and logits: the forward pass that calibration runs, or onnxruntime-web on the processor. */
export type ForwardPassName = "layerpress" | "onnxruntime-web";

/** A sample of the figures by onnxruntime-web as well: some layers, each from the same states before it, and some logits. */
export interface ForwardCheck {
  /** Tokens that went through each of the layers. */
  readonly tokens: number;
  readonly layers: readonly string[];
  /** Where what a layer adds to hidden states differs most, and by how much: ‖own − onnxruntime-web’s‖ / ‖onnxruntime-web’s‖. */
  readonly layer: string;
  readonly statesDifference: number;
  /** Tokens, and ids of the vocabulary, whose logits were compared. */
  readonly logits: { readonly tokens: number; readonly ids: number };
  readonly logitsDifference: number;
  /** Relative differences that are taken for rounding. */
  readonly tolerance: { readonly states: number; readonly logits: number };
  readonly agrees: boolean;
}

export interface QualityReport {
  readonly text: string;
  /** How the text was cut, as a sentence. */
  readonly windowing: string;
  readonly windows: number;
  /** Tokens that were predicted: all but the first of each window. */
  readonly tokens: number;
  readonly model: ModelQuality;
  /** The model that it was compared with, or null. */
  readonly original: ModelQuality | null;
  /** KL(original ‖ model) of the distributions of next tokens, in nats. */
  readonly kl: { readonly mean: number; readonly worst: number } | null;
  /** Share of tokens for which both models prefer the same next one. */
  readonly greedyAgreement: number | null;
  readonly layers: readonly LayerError[];
  readonly forwardPass: ForwardPassName;
  /** Null where onnxruntime-web made the figures itself, or could not check them, which the notes tell. */
  readonly check: ForwardCheck | null;
  readonly provider: "webgpu" | "wasm";
  /** Peak of all buffers on the device, the engine's own too; 0 on WebAssembly. */
  readonly peakGpuBytes: number;
  /** Bytes on the device once all was given back. */
  readonly leftGpuBytes: number;
  /** Seconds that were waited for each phase: embedding, weights, layers, differences, predictions, and behind them the check. */
  readonly phases: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** True if it is part of the result's own report and model card. */
  readonly recorded: boolean;
  readonly notes: readonly string[];
}

export interface EvaluationProgress {
  /** 0 to 1 */
  readonly done: number;
  readonly what: string;
}

export interface GenerationOptions {
  readonly prompt: string;
  /** The prompt is a user's message, put through the model's chat template. */
  readonly chat: boolean;
  readonly maxTokens: number;
  /** 0 takes the likeliest token each time. */
  readonly temperature: number;
  readonly top_p: number;
  readonly seed: number;
  readonly provider: ProviderChoice;
  readonly gpuBudgetBytes: number;
}

/** Which engine is to be ready. */
export type PreparedEngine = Pick<GenerationOptions, "provider" | "gpuBudgetBytes">;

export interface GenerationUpdate {
  /** All that was generated so far. */
  readonly text: string;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

export interface Generation extends GenerationUpdate {
  readonly ids: readonly number[];
  readonly promptTokens: number;
  readonly stop: "end" | "length" | "stopped";
  readonly provider: "webgpu" | "wasm";
  /** From the call, with the model open, until the first token is known: engine, weights and prompt. */
  readonly secondsToFirst: number;
  /**
   * What that time went into: when each phase first began and last ended, in seconds after the call. Phases overlap; those of an engine
   * that was prepared lie before it.
   */
  readonly timeline: Readonly<Record<string, { readonly from: number; readonly to: number }>>;
  /** Seconds by what took them: encoding, runtime and device, room, sessions and weights, which overlap in part, caches, prompt, later tokens. */
  readonly phases: Readonly<Record<string, number>>;
  /** "resident", or "layer by layer" for a model that is larger than the budget. */
  readonly weights: "resident" | "layer by layer";
  /** True if the GPU's commands were recorded once and played again for each token. */
  readonly captured: boolean;
  readonly peakGpuBytes: number;
}

/** Measures models by the forward pass of calibration, and tries them with onnxruntime-web; one call at a time. */
export interface EvaluatorApi {
  /** Opens what is evaluated, or what it is compared with. Throws the errors of sources, or UnsupportedModelError. */
  open(
    role: "model" | "original",
    reference: EvaluatedReference,
    token: string | null,
  ): Promise<EvaluatedModel>;
  /** Forgets an open model: without an original, a model is measured alone. */
  close(role: "model" | "original"): void;
  /** Opens the engine that the next prompt is answered by, meanwhile; it waits for it, without GPU memory. */
  prepare(engine: PreparedEngine): void;
  /** Closes the engine that waits, if one does: it has a device, and the runtime's memory. */
  release(): void;
  /**
   * Measures the open model, against the original if one is open. If it is a job's result, the report becomes part of its
   * quantization-report.json and model card; where that fails, the report's notes say why.
   */
  measure(
    options: EvaluationOptions,
    onProgress: (progress: EvaluationProgress) => void,
  ): Promise<QualityReport>;
  generate(
    role: "model" | "original",
    options: GenerationOptions,
    onUpdate: (update: GenerationUpdate) => void,
  ): Promise<Generation>;
  /** Ends what is running: `generate` resolves with what it has, `measure` ends with an AbortError. */
  stop(): void;
}
