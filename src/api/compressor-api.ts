// The contract between the page and its workers: types only, compiled by both threads' projects. Everything here
// crosses a worker boundary by structured clone; errors cross as `name` and `message` (see errors.ts).

import type { AdapterSummary } from "../gpu/adapter-summary.ts";
import type { LongSubmit } from "../gpu/long-submit.ts";
import type { QuantizationSummary } from "./quantization-summary.ts";

export type { QuantizationSummary, TensorGroup } from "./quantization-summary.ts";

/** What the user pointed at: an address as typed, pasted or dragged, or files that stay where they are. */
export type SourceReference =
  | { readonly kind: "address"; readonly address: string }
  | { readonly kind: "files"; readonly files: readonly DroppedFile[] };

export interface DroppedFile {
  /** Path inside the dropped folder, "/" between its parts; just the name for single files. */
  readonly path: string;
  readonly file: File;
}

export interface SourceFile {
  readonly path: string;
  readonly bytes: number;
}

/** A model folder that has been found and pinned: the same key means the same bytes, for ever. */
export interface OpenedSource {
  /** Identity of repository and revision (commit, or ETags and sizes): cache chunks and journals are keyed by it. */
  readonly key: string;
  /** For people: "meta-llama/Llama-3.2-1B @ 4e20de3", "models.example.org/tiny", "dropped folder tiny". */
  readonly label: string;
  /** Name of the model without its host or owner: names the result folder. */
  readonly name: string;
  /** Hub repository ("owner/name") for the model card's `base_model`, or null elsewhere. */
  readonly repository: string | null;
  /** Pinned commit, or null where there is none. */
  readonly revision: string | null;
  /** Host that bytes come from, or null for dropped files. */
  readonly host: string | null;
  readonly files: readonly SourceFile[];
}

/** A half-open range of bytes of one file. */
export interface FileRange {
  readonly path: string;
  readonly start: number;
  readonly end: number;
}

export interface SourceProgress {
  /** Bytes that came over the network in this session. */
  readonly downloadedBytes: number;
  /** Bytes per second over the last seconds; 0 while nothing flows. */
  readonly bytesPerSecond: number;
  /** Bytes of chunks that lie in IndexedDB for the open source. */
  readonly storedBytes: number;
  /** "waiting 8 s: the server answers 429 (too many requests)", or null while all is well. */
  readonly waiting: string | null;
}

/** The network thread: finds models, pulls byte ranges into IndexedDB, hands them out. */
export interface SourceApi {
  /** Finds the model's files and pins its revision. The token is kept in this worker's memory only. */
  open(reference: SourceReference, token: string | null): Promise<OpenedSource>;
  /** A small file whole; throws a MalformedModelError if it is larger than `maxBytes`. Not cached. */
  readFile(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>>;
  /** A small range straight from the source (headers); not cached. */
  readRange(range: FileRange): Promise<Uint8Array<ArrayBuffer>>;
  /** Any range, from stored chunks where they are there, else downloaded and stored. */
  read(range: FileRange): Promise<Uint8Array<ArrayBuffer>>;
  /** Ranges that will be read soon, in that order; replaces what was asked before. Returns at once. */
  prefetch(ranges: readonly FileRange[]): void;
  /** Says that a range will not be read again unless the job breaks off: it need not be stored if storing is too slow. */
  use(range: FileRange): void;
  /** Forgets stored chunks that lie wholly in ranges that are done with. */
  evict(ranges: readonly FileRange[]): Promise<void>;
  /** Rows of a Hub data set, in order from the first, through the Hub's rows service. */
  datasetRows(request: DatasetRequest): Promise<unknown[]>;
  /** Bytes of the ranges' chunks that are not stored yet: what a job has still to download. */
  missingBytes(ranges: readonly FileRange[]): Promise<number>;
  progress(): SourceProgress;
  /** Stops downloads until `resume`; reads wait. */
  pause(): void;
  resume(): void;
  /** What is stored, by source. */
  stored(): Promise<StoredSource[]>;
  /** Deletes the chunks of one source, or of all. */
  deleteStored(key: string | null): Promise<void>;
  /** Another thread's door to this worker. */
  connect(port: MessagePort): void;
}

export interface DatasetRequest {
  /** "HuggingFaceH4/ultrachat_200k" */
  readonly name: string;
  /** Null takes the data set's default. */
  readonly config: string | null;
  readonly split: string;
  readonly rows: number;
}

export interface StoredSource {
  readonly key: string;
  readonly label: string;
  readonly bytes: number;
}

/** Recipe as the page's controls say it, or as LLM Compressor's YAML. */
export type RecipeChoice = RecipeControls | { readonly kind: "yaml"; readonly text: string };

export interface RecipeControls {
  readonly kind: "controls";
  /** Preset scheme, any case: "W4A16"; "UNQUANTIZED" writes the weights of a quantized model as plain ones. */
  readonly scheme: string;
  /** Replaces the preset's group size; null keeps it. */
  readonly group_size: number | null;
  readonly ignore: readonly string[];
  /** Null rounds to nearest. */
  readonly gptq: GptqControls | null;
  /** Range of weights: plain, or the one with the smallest error. */
  readonly observer: "memoryless_minmax" | "memoryless_mse";
}

/** LLM Compressor's GPTQModifier, its names and defaults. */
export interface GptqControls {
  /** 0.01 */
  readonly dampening_frac: number;
  /** "static" */
  readonly actorder: "static" | "group" | null;
}

/** Where calibration text comes from. */
export type CalibrationSource =
  /** Plain text, JSONL with "text" or "messages", or token ids as JSON. */
  | { readonly kind: "file"; readonly file: File }
  /** The model folder's own calibration.txt. */
  | { readonly kind: "model" }
  /** Rows of a Hub data set; `column` null looks for messages, input_ids and text. */
  | {
      readonly kind: "dataset";
      readonly name: string;
      readonly config: string | null;
      readonly split: string;
      readonly column: string | null;
    }
  /** What the job of this id used: its token ids lie in its folder. */
  | { readonly kind: "stored"; readonly jobId: string };

export type ForwardProducts = "AUTO" | "F32";

export interface CalibrationOptions {
  readonly source: CalibrationSource;
  readonly num_calibration_samples: number;
  readonly max_seq_length: number;
  readonly shuffle_calibration_samples: boolean;
  readonly seed: number;
  /** How hidden states wait between layers: BF16 halves the space and rounds what layers see to 8 bits. */
  readonly hidden_states_dtype: "F32" | "BF16";
  /**
   * Products of the forward passes: AUTO takes the GPU's matrix units (each float32 as two float16 halves) where the browser
   * offers them, their sums are right, and they are faster; F32 is float32 arithmetic on any GPU.
   */
  readonly forward_products: ForwardProducts;
  /** Later layers see what earlier ones became; false propagates the original weights. */
  readonly propagate_error: boolean;
  /** Every expert is calibrated on all tokens; false calibrates each on the tokens that are routed to it. */
  readonly moe_calibrate_all_experts: boolean;
  /** Without `moe_calibrate_all_experts`: experts that fewer tokens are routed to are rounded to nearest. */
  readonly moe_min_tokens_per_expert: number;
}

export interface JobOptions {
  readonly recipe: RecipeChoice;
  /** Null for data-free recipes. */
  readonly calibration: CalibrationOptions | null;
  readonly gpuBudgetBytes: number;
  /** Keeps the source's chunks in IndexedDB after their layer is finished. */
  readonly keepSource: boolean;
}

export interface ModelSummary {
  readonly source: OpenedSource;
  /** "LlamaForCausalLM", or "unknown" if config.json does not say. */
  readonly architecture: string;
  readonly modelType: string | null;
  readonly parameters: number;
  /** Parameters by dtype, largest first. */
  readonly dtypes: readonly { readonly dtype: string; readonly parameters: number }[];
  readonly layers: number;
  readonly weightBytes: number;
  readonly shards: number;
  readonly license: string | null;
  /** How the model is quantized already; null for plain weights. */
  readonly quantization: QuantizationSummary | null;
  /** Things that the user should know before starting, each a sentence. */
  readonly notes: readonly string[];
}

export type Verdict = "fits" | "tight" | "does-not-fit";

export interface FitReport {
  readonly recipeYaml: string;
  readonly downloadBytes: number;
  readonly indexedDbBytes: number;
  readonly opfsBytes: number;
  /** What the browser lets this origin still store, found by trying; null if it cannot be told. */
  readonly freeBytes: number | null;
  readonly peakGpuBytes: number;
  readonly gpuBudgetBytes: number;
  readonly resultBytes: number;
  readonly bitsPerWeight: number;
  /** Result size for each preset, for comparison. */
  readonly presets: readonly PresetSize[];
  readonly quantizedModules: number;
  readonly copiedTensors: number;
  /** Seconds of network, disk and GPU, from measured rates where there are some; corrected while running. */
  readonly estimatedSeconds: number | null;
  /** For calibrated recipes: what the samples come to. */
  readonly calibration: CalibrationSummary | null;
  readonly verdict: Verdict;
  /** The verdict in words, then what would make it fit, if anything. */
  readonly sentences: readonly string[];
}

export interface CalibrationSummary {
  readonly samples: number;
  readonly tokens: number;
  /** Passes over the samples that the layer with the most needs, propagation included. */
  readonly passes: number;
  readonly weightsResident: boolean;
  /** Where hidden states wait between layers: "gpu", "host" or "file". */
  readonly hiddenStates: string;
  readonly hiddenBytes: number;
  /** Operations of all layers: forward passes, Hessians, factorisations, GPTQ. */
  readonly flops: number;
  /** The rate that the estimate of time takes them to be done at. */
  readonly gpu: GpuSpeed;
}

export interface GpuSpeed {
  readonly flopsPerSecond: number;
  /** True if an earlier job showed it on this adapter, false if it is assumed. */
  readonly measured: boolean;
}

export interface PresetSize {
  readonly scheme: string;
  /** A few words: "4-bit weights". */
  readonly title: string;
  /** What it is for and what hardware runs it. */
  readonly sentence: string;
  /** True if activations have to be measured on a text. */
  readonly needsCalibration: boolean;
  /** Null if the preset cannot be applied to this model. */
  readonly resultBytes: number | null;
  readonly problem: string | null;
}

export type Phase =
  | "starting"
  | "embedding"
  | "calibrating"
  | "quantizing"
  | "propagating"
  | "packaging"
  | "verifying";

export interface Progress {
  readonly phase: Phase;
  /** Step that is being worked on, counted from 1, and its name ("model.layers.3"). */
  readonly step: number;
  readonly steps: number;
  readonly stepName: string;
  /** What of the step is at work: "batch 3 of 16", "model.layers.3.mlp.up_proj", or null. */
  readonly detail: string | null;
  /** Module reports so far; `moduleReports` gives them. */
  readonly reportedModules: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly source: SourceProgress;
  readonly gpuBytes: number;
  readonly gpuPeakBytes: number;
  readonly gpuBudgetBytes: number;
  readonly secondsElapsed: number;
  readonly secondsLeft: number | null;
  readonly paused: boolean;
  /** What just happened, for people: "The GPU was lost; going on from model.layers.3." */
  readonly notice: string | null;
}

/** What GPTQ did to one Linear. */
export interface ModuleReport {
  readonly module: string;
  /**
   * ½ tr(ΔW H ΔWᵀ) of the chosen codes, H damped: what LLM Compressor prints as error. 0 for an expert that too few
   * tokens reached and that was rounded to nearest.
   */
  readonly loss: number;
  /** The same for rounding to nearest with the same scales. */
  readonly rtnLoss: number;
  /** Damping that the factorisation needed, as a fraction of the Hessian's mean diagonal. */
  readonly dampeningFrac: number;
  readonly attempts: number;
  /** Input columns that were zero for every token. */
  readonly deadColumns: number;
  /** Tokens that the module saw. */
  readonly tokens: number;
  /** True for an expert that too few tokens reached and that was rounded to nearest: its losses were not measured. */
  readonly rounded: boolean;
  readonly seconds: number;
}

export interface OutputFile {
  readonly path: string;
  readonly bytes: number;
}

export interface ResultSummary {
  readonly jobId: string;
  readonly name: string;
  readonly files: readonly OutputFile[];
  readonly sourceBytes: number;
  readonly resultBytes: number;
  readonly bitsPerWeight: number;
  readonly peakGpuBytes: number;
  readonly worstSubmitMs: number;
  /** The submits that held the GPU longest, worst first. */
  readonly longestSubmits: readonly LongSubmit[];
  /** Seconds that submits held the GPU, by its own clock where it has one. */
  readonly gpuBusySeconds: number;
  /** Seconds by phase; "total" is the whole job. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly recipeYaml: string;
  readonly modules: readonly ModuleReport[];
  readonly notes: readonly string[];
}

export interface StoredJob {
  readonly jobId: string;
  readonly label: string;
  readonly scheme: string;
  readonly finishedSteps: number;
  readonly steps: number;
  readonly done: boolean;
  readonly bytes: number;
  /** Without its query, which may hold a secret. Null if the source was dropped files, which have to be dropped again. */
  readonly address: string | null;
  /** True if the address had a query: the model may not open without it. */
  readonly addressShortened: boolean;
  readonly options: JobOptions;
}

/** The GPU thread: inspects, plans, and runs one job at a time. */
export interface CompressorApi {
  /** Hands over the port on which the network thread serves SourceApi. */
  connect(source: MessagePort): void;
  /** Asks for an adapter; throws a DeviceLimitError with a sentence if there is none. */
  probe(): Promise<AdapterSummary>;
  /** Reads config.json and the safetensors headers, nothing else. */
  inspect(reference: SourceReference, token: string | null): Promise<ModelSummary>;
  /** The fit report of the inspected model for these options. */
  plan(options: JobOptions): Promise<FitReport>;
  /** Runs, or goes on with, the job for the inspected model; resolves when the result lies in OPFS. */
  start(options: JobOptions, onProgress: (progress: Progress) => void): Promise<ResultSummary>;
  /** Reports of the running job's modules from index `since` on. */
  moduleReports(since: number): ModuleReport[];
  pause(): void;
  resume(): void;
  /** Ends the running job with an AbortError; finished layers stay for a later start. */
  cancel(): void;
  /** Jobs in OPFS, finished or not. */
  jobs(): Promise<StoredJob[]>;
  /** The summary of a finished job. */
  result(jobId: string): Promise<ResultSummary>;
  deleteJob(jobId: string): Promise<void>;
}
