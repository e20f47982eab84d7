// The contract between the page and its workers: types only, compiled by both threads' projects. Everything here
// crosses a worker boundary by structured clone; errors cross as `name` and `message` (see errors.ts).

import type { AdapterSummary } from "../gpu/device/adapter-summary.ts";
import type { LongSubmit } from "../gpu/queue/long-submit.ts";
import type { QuantizationSummary } from "./quantization-summary.ts";
import type { SourceReference, OpenedSource, SourceProgress } from "./source-api.ts";
import type { JobOptions } from "./job-options.ts";
import type { MixedRecipe, SchemeSurvey } from "./scheme-survey.ts";

export type { QuantizationSummary, TensorGroup } from "./quantization-summary.ts";

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

/** What one of a run's results comes to. */
export interface ResultFit {
  /** "W4A16", "W4A16-G64 + W8A16". */
  readonly scheme: string;
  readonly recipeYaml: string;
  readonly resultBytes: number;
  readonly bitsPerWeight: number;
  readonly quantizedModules: number;
  readonly copiedTensors: number;
  /** True if later layers see its error. */
  readonly leads: boolean;
  /** What servers, or transformers, would refuse of it. */
  readonly serverNotes: readonly ServerNote[];
  /** The recipe, as YAML, with everything ignored that the server notes name; null if there are none or nothing is left. */
  readonly servableRecipe: string | null;
}

/** What a run takes; scheme, sizes and notes are those of the first result that is asked for. */
export interface FitReport extends ResultFit {
  /** All that are asked for, in that order. */
  readonly results: readonly ResultFit[];
  readonly downloadBytes: number;
  readonly indexedDbBytes: number;
  /** Of all results. */
  readonly opfsBytes: number;
  /** What lies in a file of OPFS, for as long as the job runs, of layers that the page's memory does not hold; 0 if it does. */
  readonly layerFileBytes: number;
  /** What the browser lets this origin still store, found by trying; null if it cannot be told. */
  readonly freeBytes: number | null;
  readonly peakGpuBytes: number;
  readonly gpuBudgetBytes: number;
  /** Result size for each preset, for comparison. */
  readonly presets: readonly PresetSize[];
  /** Seconds of network, disk and GPU, from measured rates where there are some; corrected while running. */
  readonly estimatedSeconds: number | null;
  /** For calibrated recipes: what the samples come to. */
  readonly calibration: CalibrationSummary | null;
  readonly verdict: Verdict;
  /** The verdict in words, then what would make it fit, if anything, then what is to be known of the samples. */
  readonly sentences: readonly string[];
  /** What cuts into parts go by. */
  readonly partCosts: PartCosts;
}

/** What the pieces of a job cost that can be done apart. */
export interface PartCosts {
  /** The decoder's layers in order, the last one with a head that is calibrated behind it; none for a model whose tensors are not numbered. */
  readonly layers: readonly LayerCost[];
  /** Bytes of the source that belong to none of these. */
  readonly restBytes: number;
  /** Batches of samples, between which shares are cut; 0 where nothing is calibrated. */
  readonly batches: number;
  /** Bytes of all samples' hidden states in front of a layer; 0 where nothing is calibrated. */
  readonly statesBytes: number;
  /** Why ranges of layers cannot be done apart, as a sentence: they depend on what becomes of those before them. Null where they can. */
  readonly dependence: string | null;
  /** Shares that the samples can be cut into at most; 0 where the recipe does not share them. */
  readonly shares: number;
}

export interface LayerCost {
  readonly name: string;
  /** Bytes of its weights in the source. */
  readonly bytes: number;
  /** Operations of samples, statistics and the choice of codes; 0 where nothing is calibrated. */
  readonly operations: number;
  /** Predicted for a GPU of a data centre. */
  readonly seconds: number;
  /** The same of the last layer of a range, whose output nothing reads. */
  readonly lastSeconds: number;
  /** The same of a layer that samples run through on their way to a range behind it; 0 where nothing is calibrated. */
  readonly passedSeconds: number;
  /** Until its weights are there, however few samples wait for them: it is a part of each of the others. */
  readonly comingSeconds: number;
}

export interface ServerNote {
  readonly server: "vLLM" | "transformers";
  /** Modules that it is about. */
  readonly modules: readonly string[];
  /** Modules that a recipe has to ignore so that the server takes the result; none where that is no way around it. */
  readonly ignore: readonly string[];
  readonly sentence: string;
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
  /** Operations of all layers: forward passes, statistics, the choice of codes. */
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
  /** Of work: seconds of a pause are in neither. */
  readonly secondsElapsed: number;
  readonly secondsLeft: number;
  readonly paused: boolean;
  /** What just happened, for people: "The GPU was lost; going on from model.layers.3." */
  readonly notice: string | null;
}

/** What was done to one Linear whose codes were chosen by what a text shows of its inputs. */
export interface ModuleReport {
  readonly module: string;
  /**
   * ½ tr(ΔW H ΔWᵀ) of the chosen codes, H damped: what LLM Compressor prints as error. Where targets answer for a drift, ΔW is the
   * difference from them, not from the weights. 0 for an expert that too few tokens reached and that was rounded to nearest.
   */
  readonly loss: number;
  /** The same for rounding to nearest with the scales that the observer chose. */
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
  /** Since the module before it was done; the first of those that share a statistic has its factorisation in it. */
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
  /** True if weights of a quantized model were written as plain ones, and nothing was quantized. */
  readonly dequantized: boolean;
  readonly bitsPerWeight: number;
  readonly peakGpuBytes: number;
  /** The most that the plan said it would be. */
  readonly plannedGpuBytes: number;
  readonly worstSubmitMs: number;
  /** The submits that held the GPU longest, worst first. */
  readonly longestSubmits: readonly LongSubmit[];
  /** Seconds that submits held the GPU, by its own clock where it has one. */
  readonly gpuBusySeconds: number;
  /** Seconds by phase, without pauses; "total" is the whole job. */
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
  /** What each preset would make of the inspected model, where a recipe does not fit and there is no report to say it. */
  presets(): readonly PresetSize[];
  /** Runs, or goes on with, what is asked for of the inspected model; resolves when all results lie in OPFS, in the plan's order. */
  start(options: JobOptions, onProgress: (progress: Progress) => void): Promise<ResultSummary[]>;
  /**
   * Measures what the recipes of `options`, each of one scheme, would lose of each module of the inspected model; writes nothing.
   * Runs as a job does.
   */
  survey(options: JobOptions, onProgress: (progress: Progress) => void): Promise<SchemeSurvey>;
  /** A recipe of the last survey's schemes whose result's weights take at most so many bytes. */
  mixedRecipe(bytes: number): Promise<MixedRecipe>;
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
  /**
   * Writes `receipt.json` into a finished job's result, unless it is there; `onBytes` is told what was hashed. The summary then
   * lists it.
   * @param known SHA-256 of files that are hashed already, by path
   */
  makeReceipt(
    jobId: string,
    onBytes: (hashedBytes: number) => void,
    known: Readonly<Record<string, string>>,
  ): Promise<ResultSummary>;
  deleteJob(jobId: string): Promise<void>;
}
