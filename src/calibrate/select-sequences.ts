// Samples to the token sequences that calibrate: shuffled with a visible seed, cut, never padded. LLM Compressor's
// `num_calibration_samples`, `max_seq_length`, `shuffle_calibration_samples`.

import { CalibrationError } from "../errors.ts";
import type { ModelTokenizer } from "../model/tokenizer/model-tokenizer.ts";
import type { Sample } from "./samples/sample.ts";

export interface SelectionOptions {
  readonly num_calibration_samples: number;
  readonly max_seq_length: number;
  readonly shuffle_calibration_samples: boolean;
  readonly seed: number;
}

/** Shorter sequences have no context; attention over one token says nothing about the model. */
const MIN_TOKENS = 2;
/** Hessians from fewer tokens than this per input column are nearly singular even for small models. */
const FEW_TOKENS = 512;
/** Ids are kept in 32 bits. */
const MAX_IDS = 2 ** 32;

export interface CalibrationSet {
  readonly sequences: readonly Uint32Array<ArrayBuffer>[];
  readonly tokens: number;
  /** What the user should know: fewer samples than asked for, few tokens. */
  readonly notes: readonly string[];
}

/**
 * Tokenizes samples until enough sequences are found.
 * @param tokenizer null if the model has none: then only samples of token ids can be used.
 * @throws CalibrationError if there is no tokenizer for text, an id lies outside the vocabulary, or nothing is left.
 */
export async function selectSequences(
  samples: readonly Sample[],
  tokenizer: ModelTokenizer | null,
  vocabularySize: number,
  options: SelectionOptions,
): Promise<CalibrationSet> {
  const ordered = options.shuffle_calibration_samples ? shuffled(samples, options.seed) : samples;
  const sequences: Uint32Array<ArrayBuffer>[] = [];
  let skipped = 0;
  for (const sample of ordered) {
    if (sequences.length >= options.num_calibration_samples) break;
    const whole = sample.kind === "ids" ? sample.ids : await tokenize(sample, tokenizer);
    const ids = checkedIds(whole.slice(0, options.max_seq_length), vocabularySize);
    if (ids.length >= MIN_TOKENS) sequences.push(ids.slice());
    else skipped++;
  }
  const tokens = sequences.reduce((sum, { length }) => sum + length, 0);
  if (tokens === 0) {
    throw new CalibrationError(
      `None of the ${samples.length} calibration samples has ${MIN_TOKENS} tokens or more. Use longer text.`,
    );
  }
  return { sequences, tokens, notes: notesOf(sequences.length, tokens, skipped, options) };
}

type TextSample = Exclude<Sample, { readonly kind: "ids" }>;

async function tokenize(
  sample: TextSample,
  tokenizer: ModelTokenizer | null,
): Promise<Uint32Array<ArrayBuffer>> {
  if (!tokenizer) {
    throw new CalibrationError(
      "This model has no tokenizer.json, so text cannot be turned into its tokens. Put one beside the model, give token ids as JSON, or choose a data-free recipe.",
    );
  }
  return sample.kind === "text"
    ? await tokenizer.encode(sample.text, sample.where)
    : await tokenizer.encodeChat(sample, false, sample.where);
}

/** Ids that no array has wrapped yet: 2³² + 1 must not become 1. */
function checkedIds(
  ids: readonly number[] | Uint32Array<ArrayBuffer>,
  vocabularySize: number,
): Uint32Array<ArrayBuffer> {
  const most = Math.min(vocabularySize, MAX_IDS);
  const outside = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= most);
  if (outside === undefined) return Uint32Array.from(ids);
  throw new CalibrationError(
    `Token id ${outside} lies outside the model's vocabulary of ${most}. The tokenizer, or the file of token ids, belongs to another model.`,
  );
}

function notesOf(found: number, tokens: number, skipped: number, options: SelectionOptions): string[] {
  const notes: string[] = [];
  if (found < options.num_calibration_samples) {
    const usable = found === 1 ? "is 1 usable sample" : `are ${found} usable samples`;
    notes.push(`There ${usable}; ${options.num_calibration_samples} were asked for.`);
  }
  if (skipped > 0) notes.push(`${skipped} samples were too short and left out.`);
  if (tokens < FEW_TOKENS) {
    notes.push(`${tokens} tokens are very few: the result may be no better than without calibration.`);
  }
  return notes;
}

/** Fisher-Yates with the generator mulberry32, so that a seed means the same order in every browser. */
export function shuffled<Item>(items: readonly Item[], seed: number): Item[] {
  const result = [...items];
  let state = seed >>> 0;
  for (let index = result.length - 1; index > 0; index--) {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    const other = ((mixed ^ (mixed >>> 14)) >>> 0) % (index + 1);
    const [a, b] = [result[index], result[other]];
    if (a !== undefined && b !== undefined) [result[index], result[other]] = [b, a];
  }
  return result;
}
