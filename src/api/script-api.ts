// What a script that drives this page may ask of it, as `globalThis.layerpress`. Types only, so that the script's own
// project can read them without the page.

import type { FitReport, ModelSummary, OutputFile, Progress, ResultSummary } from "./compressor-api.ts";
import type { SampledPlaces } from "../formats/files/sampled-places.ts";
import type { AwqLoss } from "../formats/modifiers/awq.ts";
import type { MixedRecipe, SchemeSurvey } from "./scheme-survey.ts";
import type { Published, PublishProgress, PublishRequest } from "./publisher-api.ts";
import type { ForwardProducts } from "../formats/recipe/forward-products.ts";
import type { GptqControls, JobPart, JobShare, RecipeControls } from "./job-options.ts";

/** Null keeps what the recipe's name means. */
export interface RecipeRequest {
  /** A preset in any case, "gptq-" and a preset, "best-W4A16", or LLM Compressor's YAML. */
  readonly text: string;
  readonly groupSize: number | null;
  readonly ignore: readonly string[] | null;
  readonly observer: RecipeControls["observer"] | null;
  readonly dampeningFrac: number | null;
  readonly actorder: NonNullable<GptqControls["actorder"]> | "none" | null;
  /** By what AWQ tells candidates apart; absent or null, by Hessians. */
  readonly awqLoss?: AwqLoss | null;
}

/**
 * For recipes that calibrate. Null keeps what the page suggests for the model: of a file and a data set both, its own
 * calibration.txt or the usual data set.
 */
export interface CalibrationRequest {
  readonly file: CalibrationFile | null;
  readonly dataset: RequestedDataset | null;
  readonly samples: number | null;
  readonly maxSeqLength: number | null;
  readonly seed: number | null;
  readonly shuffle: boolean;
  readonly propagateError: boolean;
  readonly allExperts: boolean;
  readonly minExpertTokens: number | null;
  readonly hiddenStates: "F32" | "BF16";
  readonly forwardProducts: ForwardProducts;
}

export interface RequestedDataset {
  readonly name: string;
  /** Null, or none, takes the data set's default. */
  readonly config?: string | null;
  readonly split: string;
  readonly column: string | null;
}

export interface CalibrationFile {
  readonly name: string;
  /** What the file holds; null if the file itself is given beside the request, as one that is no text has to be. */
  readonly text: string | null;
  /** Field of its rows to use; null, or none, looks for the usual ones. */
  readonly column?: string | null | undefined;
}

export interface CompressRequest {
  /** An address as the page's field takes it; null waits for files that were given to the page. */
  readonly source: string | null;
  readonly token: string | null;
  readonly recipe: RecipeRequest;
  /** More recipes, whose results are made in the same run. */
  readonly beside?: readonly RecipeRequest[];
  /** The one whose error later layers see; without it, the first of the run that chooses codes by a text. */
  readonly along?: RecipeRequest | null;
  readonly calibration: CalibrationRequest;
  /** Null keeps the page's default for this GPU. */
  readonly gpuBudgetBytes: number | null;
  readonly keepSource: boolean;
  /** The part to do; without it, the whole model. Files of hidden states are given beside the request. */
  readonly part?: JobPart | null;
  /** What this page does of a job that several do together; without it, all. */
  readonly share?: JobShare | null;
}

export interface CompressOutcome {
  readonly jobId: string;
  readonly fit: FitReport;
  /** Of the first recipe, which the page shows. */
  readonly result: ResultSummary;
  /** Of all recipes, in their order. */
  readonly results: readonly ResultSummary[];
}

/** Moves the page through its states as a person would. What the page refuses rejects with its name and sentence. */
export interface ScriptDoor {
  /** Resolves once the workers answer. */
  ready(): Promise<void>;
  inspect(source: string, token: string | null): Promise<ModelSummary>;
  /** What a request would come to, without doing it. */
  plan(request: CompressRequest, file?: File): Promise<FitReport>;
  /**
   * @param file the calibration file of a request that has not its text
   * @param states hidden states in front of the first layer of the part that is asked for, all shares of the samples
   */
  compress(request: CompressRequest, file?: File, states?: readonly File[]): Promise<CompressOutcome>;
  /** Measures what the request's recipes would lose of each module. */
  survey(request: CompressRequest, file?: File): Promise<SchemeSurvey>;
  /** A recipe of the last survey's schemes whose result's weights take at most so many bytes. */
  mixedRecipe(bytes: number): Promise<MixedRecipe>;
  /** Of the running job, or of the last one; null before the first report. */
  progress(): Progress | null;
  /** What downloads wait for, as the page shows it: "waiting 8 s: …", or that a worker is silent; null while all is well. */
  waiting(): Promise<string | null>;
  /** What unfinished jobs have left to go on with. */
  kept(): Promise<{ readonly finishedSteps: number; readonly downloadedBytes: number }>;
  /** Shows another result, which is then the one to save, to make a receipt of, or to publish. */
  show(jobId: string): Promise<void>;
  /**
   * Makes the shown result's receipt.json, and gives all files that the result has then.
   * @param known hashes of files that need not be hashed again, by path
   */
  receipt(known: Readonly<Record<string, string>>): Promise<readonly OutputFile[]>;
  /** Publishes the shown result. */
  publish(request: Omit<PublishRequest, "jobId">): Promise<Published>;
  /** Of the upload that is under way; null while none is. */
  publishing(): PublishProgress | null;
  /** Starts the browser's download of one file of the result; after ten without a click, browsers wait for one. */
  save(path: string): Promise<void>;
  /** SHA-256 in hexadecimal digits of pieces of one file of the result, one behind the other. */
  sample(path: string, places: SampledPlaces): Promise<string>;
  /** Posts one file of the result to an address. */
  send(path: string, address: string): Promise<void>;
}

declare global {
  var layerpress: ScriptDoor;
}
