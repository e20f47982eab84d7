import { type Signal, signal } from "@preact/signals";
import type { ModelSummary } from "../../../api/compressor-api.ts";
import { HUB_HOST } from "./page-address.ts";
import { type NumberRange, readNumber } from "./read-number.ts";
import type { CalibrationOptions, CalibrationSource } from "../../../api/job-options.ts";

/** A Hub data set as typed; empty config and column leave the choice to the data set. */
export interface DatasetFields {
  readonly name: string;
  readonly config: string;
  readonly split: string;
  readonly column: string;
}

/** The calibration controls as they stand, each as the user left it. */
export interface CalibrationFields {
  readonly source: Signal<CalibrationSource["kind"]>;
  readonly file: Signal<File | null>;
  /** Field of the file's rows, as typed; empty looks for the usual ones. */
  readonly fileColumn: Signal<string>;
  readonly dataset: Signal<DatasetFields>;
  /** The unfinished job whose samples are kept, or null. */
  readonly storedJobId: Signal<string | null>;
  readonly samples: Signal<string>;
  readonly maxSeqLength: Signal<string>;
  readonly shuffle: Signal<boolean>;
  readonly seed: Signal<string>;
  readonly hiddenStatesDtype: Signal<CalibrationOptions["hidden_states_dtype"]>;
  readonly forwardProducts: Signal<CalibrationOptions["forward_products"]>;
  readonly propagateError: Signal<boolean>;
  readonly allExperts: Signal<boolean>;
  readonly minExpertTokens: Signal<string>;
}

/** What LLM Compressor's own examples calibrate with. */
const DEFAULT_DATASET: DatasetFields = {
  name: "HuggingFaceH4/ultrachat_200k",
  config: "",
  split: "train_sft",
  column: "messages",
};

export const SAMPLES_RANGE: NumberRange = { min: 1, max: 100_000, whole: true };
/** One token has no context, and no model reads more than this at once. */
export const LENGTH_RANGE: NumberRange = { min: 2, max: 131_072, whole: true };
export const SEED_RANGE: NumberRange = { min: 0, max: 2 ** 32 - 1, whole: true };

export const EXPERT_TOKENS_RANGE: NumberRange = { min: 1, max: 1_000_000, whole: true };

export const MODEL_TEXT = "calibration.txt";
/** The default of LLM Compressor's oneshot. */
const USUAL_SAMPLES = "512";
/** A model of so few parameters is a toy, which fewer and shorter samples tell all about. */
const TOY_PARAMETERS = 100_000_000;
const TOY_SAMPLES = "32";
const TOY_LENGTH = "256";
const USUAL_LENGTH = "2048";
/** Fewer tokens say less of an expert's inputs than rounding to nearest assumes. */
const USUAL_EXPERT_TOKENS = "64";
const DATASET_NAME = /^[\w.-]+(\/[\w.-]+)?$/;
const DATASET_PAGE = /^https:\/\/(?:huggingface\.co|hf\.co)\/datasets\//;

export function createCalibrationFields(): CalibrationFields {
  return {
    source: signal<CalibrationSource["kind"]>("file"),
    file: signal<File | null>(null),
    fileColumn: signal(""),
    dataset: signal(DEFAULT_DATASET),
    storedJobId: signal<string | null>(null),
    samples: signal(USUAL_SAMPLES),
    maxSeqLength: signal(USUAL_LENGTH),
    shuffle: signal(true),
    seed: signal("42"),
    hiddenStatesDtype: signal<CalibrationOptions["hidden_states_dtype"]>("F32"),
    forwardProducts: signal<CalibrationOptions["forward_products"]>("AUTO"),
    propagateError: signal(true),
    allExperts: signal(true),
    minExpertTokens: signal(USUAL_EXPERT_TOKENS),
  };
}

export function hasOwnText(model: ModelSummary): boolean {
  return model.source.files.some(({ path }) => path === MODEL_TEXT);
}

/**
 * Sets the source to what suits a newly inspected model: its own text if it has one, a data set if its host is the Hub
 * and would be asked anyway, else a file. A file that was chosen stays chosen.
 */
export function suggestCalibration(fields: CalibrationFields, model: ModelSummary): void {
  const own = hasOwnText(model);
  const chosen = fields.source.peek() === "file" && fields.file.peek() !== null;
  fields.storedJobId.value = null;
  if (!chosen) fields.source.value = own ? "model" : model.source.host === HUB_HOST ? "dataset" : "file";
  const toy = own && model.parameters < TOY_PARAMETERS;
  fields.samples.value = toy ? TOY_SAMPLES : USUAL_SAMPLES;
  fields.maxSeqLength.value = toy ? TOY_LENGTH : USUAL_LENGTH;
}

/** Why the controls mean nothing yet, as a sentence, or null. */
export function calibrationProblem(fields: CalibrationFields): string | null {
  const range = ({ min, max }: NumberRange) => `a whole number from ${min} to ${max}`;
  if (sourceOf(fields) === null) {
    return fields.source.value === "dataset"
      ? `Name a data set and its split, such as ${DEFAULT_DATASET.name} and ${DEFAULT_DATASET.split}.`
      : "Choose a file with calibration text first.";
  }
  if (readNumber(fields.samples.value, SAMPLES_RANGE) === null)
    return `num_calibration_samples has to be ${range(SAMPLES_RANGE)}.`;
  if (readNumber(fields.maxSeqLength.value, LENGTH_RANGE) === null)
    return `max_seq_length has to be ${range(LENGTH_RANGE)}.`;
  if (readNumber(fields.minExpertTokens.value, EXPERT_TOKENS_RANGE) === null)
    return `moe_min_tokens_per_expert has to be ${range(EXPERT_TOKENS_RANGE)}.`;
  return readNumber(fields.seed.value, SEED_RANGE) === null
    ? `The seed has to be ${range(SEED_RANGE)}.`
    : null;
}

/** What the controls mean; null while one of them cannot be read. */
export function calibrationChoice(fields: CalibrationFields): CalibrationOptions | null {
  const source = sourceOf(fields);
  const num_calibration_samples = readNumber(fields.samples.value, SAMPLES_RANGE);
  const max_seq_length = readNumber(fields.maxSeqLength.value, LENGTH_RANGE);
  const seed = readNumber(fields.seed.value, SEED_RANGE);
  const moe_min_tokens_per_expert = readNumber(fields.minExpertTokens.value, EXPERT_TOKENS_RANGE);
  if (!source || num_calibration_samples === null || max_seq_length === null) return null;
  if (seed === null || moe_min_tokens_per_expert === null) return null;
  return {
    source,
    num_calibration_samples,
    max_seq_length,
    shuffle_calibration_samples: fields.shuffle.value,
    seed,
    hidden_states_dtype: fields.hiddenStatesDtype.value,
    forward_products: fields.forwardProducts.value,
    propagate_error: fields.propagateError.value,
    moe_calibrate_all_experts: fields.allExperts.value,
    moe_min_tokens_per_expert,
  };
}

function sourceOf({
  source,
  file,
  fileColumn,
  dataset,
  storedJobId,
}: CalibrationFields): CalibrationSource | null {
  switch (source.value) {
    case "model":
      return { kind: "model" };
    case "file":
      return file.value && { kind: "file", file: file.value, column: fileColumn.value.trim() || null };
    case "dataset":
      return datasetSource(dataset.value);
    case "stored":
      return storedJobId.value === null ? null : { kind: "stored", jobId: storedJobId.value };
  }
}

/** Takes the name alone or the address of the data set's page. */
function datasetSource(typed: DatasetFields): CalibrationSource | null {
  const name = typed.name.trim().replace(DATASET_PAGE, "").replace(/\/$/, "");
  const split = typed.split.trim();
  if (!DATASET_NAME.test(name) || split === "") return null;
  return {
    kind: "dataset",
    name,
    config: typed.config.trim() || null,
    split,
    column: typed.column.trim() || null,
  };
}

/** Sets the controls to what an earlier job used. */
export function restoreCalibration(fields: CalibrationFields, options: CalibrationOptions): void {
  const { source } = options;
  fields.source.value = source.kind;
  fields.storedJobId.value = source.kind === "stored" ? source.jobId : null;
  if (source.kind === "file") {
    fields.file.value = source.file;
    fields.fileColumn.value = source.column ?? "";
  }
  if (source.kind === "dataset") {
    const { name, config, split, column } = source;
    fields.dataset.value = { name, config: config ?? "", split, column: column ?? "" };
  }
  fields.samples.value = String(options.num_calibration_samples);
  fields.maxSeqLength.value = String(options.max_seq_length);
  fields.shuffle.value = options.shuffle_calibration_samples;
  fields.seed.value = String(options.seed);
  fields.hiddenStatesDtype.value = options.hidden_states_dtype;
  fields.forwardProducts.value = options.forward_products;
  fields.propagateError.value = options.propagate_error;
  fields.allExperts.value = options.moe_calibrate_all_experts;
  fields.minExpertTokens.value = String(options.moe_min_tokens_per_expert);
}
