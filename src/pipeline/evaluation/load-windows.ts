// The text that quality is measured on: from a file, the model's folder or this page to windows of token ids.

import { parseSamples } from "../../calibrate/samples/parse-samples.ts";
import { MAX_CALIBRATION_BYTES, type Sample } from "../../calibrate/samples/sample.ts";
import { CalibrationError } from "../../errors.ts";
import builtInText from "../../evaluate/quality/built-in-text.txt?raw";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import type { ModelTokenizer } from "../../model/tokenizer/model-tokenizer.ts";
import type { EvaluationOptions } from "../../api/evaluator-api.ts";
import type { OpenStoredModel } from "./open-stored-model.ts";

const MODEL_TEXT = "evaluation.txt";

export interface EvaluationWindows {
  /** Name of the text. */
  readonly text: string;
  readonly windowing: string;
  readonly windows: readonly (readonly number[])[];
}

/** A result carries no text of its own; its original may. */
interface EvaluatedModels {
  readonly model: OpenStoredModel;
  readonly original: OpenStoredModel | null;
}

/** The longest windows that can be computed. */
export interface WindowLimit {
  readonly tokens: number;
  /** What longer ones would do: "would take …". */
  readonly because: string;
}

/**
 * @throws CalibrationError if there is no tokenizer for text, or no window of two tokens.
 */
export async function loadWindows(
  models: EvaluatedModels,
  options: EvaluationOptions,
  longest: WindowLimit,
): Promise<EvaluationWindows> {
  const { model } = models;
  const { name, bytes } = await readText(models, options);
  const { samples } = await parseSamples(name, bytes);
  const wanted = Math.min(options.max_seq_length, model.summary.maxPositions);
  const length = Math.min(wanted, longest.tokens);
  const all: number[][] = [];
  for (const sample of samples) all.push(...cut(await tokenize(sample, model.tokenizer), length));
  const windows = all.filter((ids) => ids.length > 1).slice(0, options.maxWindows ?? all.length);
  if (windows.length === 0) {
    throw new CalibrationError(`${name} has no sequence of two tokens or more: there is nothing to predict.`);
  }
  const isIds = samples[0]?.kind === "ids";
  const reason = length < wanted ? ` Windows of ${wanted} tokens ${longest.because}.` : "";
  const unit = isIds ? "sequence of ids" : "line, paragraph or sample";
  return {
    text: name,
    windows,
    windowing: `Each ${unit} is tokenized by itself with the tokenizer's special tokens and cut into windows of at most ${length} tokens that do not overlap; the first token of each window is not predicted.${reason}`,
  };
}

async function readText({ model, original }: EvaluatedModels, { text }: EvaluationOptions) {
  if (text.kind === "file") {
    const { name, size } = text.file;
    if (size > MAX_CALIBRATION_BYTES) {
      throw new CalibrationError(
        `${name} has ${formatBytes(size)}; ${formatBytes(MAX_CALIBRATION_BYTES)} is the most. A few thousand words are plenty.`,
      );
    }
    return { name, bytes: new Uint8Array(await text.file.arrayBuffer()) };
  }
  for (const each of original ? [model, original] : [model]) {
    if (!each.summary.source.files.some(({ path }) => path === MODEL_TEXT)) continue;
    return { name: MODEL_TEXT, bytes: await each.source.readFile(MODEL_TEXT, MAX_CALIBRATION_BYTES) };
  }
  return { name: "built-in text", bytes: new TextEncoder().encode(builtInText) };
}

async function tokenize(sample: Sample, tokenizer: ModelTokenizer | null): Promise<number[]> {
  if (sample.kind === "ids") return [...sample.ids];
  if (!tokenizer) {
    throw new CalibrationError(
      "This model has no tokenizer.json, so that text cannot be turned into its tokens. Give token ids as JSON instead.",
    );
  }
  return [
    ...(sample.kind === "text"
      ? await tokenizer.encode(sample.text, sample.where)
      : await tokenizer.encodeChat(sample, false, sample.where)),
  ];
}

function cut(ids: readonly number[], length: number): number[][] {
  return Array.from({ length: Math.ceil(ids.length / length) }, (_, index) =>
    ids.slice(index * length, (index + 1) * length),
  );
}
