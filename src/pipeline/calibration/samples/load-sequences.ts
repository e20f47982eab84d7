// From what the user names as calibration text to token sequences: a file, the model's own text, a Hub data set, or what
// an earlier run of the job used. The text stays in this worker.

import { parseSamples, readRows } from "../../../calibrate/samples/parse-samples.ts";
import { MAX_CALIBRATION_BYTES, type SampleSet } from "../../../calibrate/samples/sample.ts";
import { type CalibrationSet, selectSequences } from "../../../calibrate/select-sequences.ts";
import { CalibrationError } from "../../../errors.ts";
import { formatBytes } from "../../../formats/text/format-bytes.ts";
import { findJobFolder } from "../../../offload/job-folder.ts";
import type { OpenModel } from "../../inspect/open-model.ts";
import { openTokenizer } from "../../inspect/open-tokenizer.ts";
import type { RemoteSource } from "../../inspect/remote-source.ts";
import { readSequences } from "./stored-sequences.ts";
import type { CalibrationOptions, CalibrationSource } from "../../../api/job-options.ts";

const MODEL_TEXT = "calibration.txt";
/** Rows beyond those asked for, because some are too short to use. */
const SPARE_ROWS = 1.25;

/**
 * Loads the sequences that calibrate.
 * @throws CalibrationError if there is no usable text; the source's errors if it cannot be fetched.
 */
export async function loadCalibration(
  remote: RemoteSource,
  model: OpenModel,
  options: CalibrationOptions,
): Promise<CalibrationSet> {
  if (options.source.kind === "stored") {
    const job = await findJobFolder(options.source.jobId);
    if (job) return await readSequences(job);
    throw new CalibrationError(
      "The calibration tokens of this job are gone from the browser's storage. Choose the text again.",
    );
  }
  const wanted = options.num_calibration_samples;
  const { samples, notes } = await readSamples(remote, model, options.source, wanted);
  const needsTokenizer = samples.some(({ kind }) => kind !== "ids");
  using tokenizer = needsTokenizer ? await openTokenizer(remote, model.source.files) : null;
  const set = await selectSequences(samples, tokenizer, vocabularySize(model), options);
  return { ...set, notes: [...notes, ...set.notes] };
}

async function readSamples(
  remote: RemoteSource,
  model: OpenModel,
  source: Exclude<CalibrationSource, { kind: "stored" }>,
  wanted: number,
): Promise<SampleSet> {
  if (source.kind === "file") {
    const { name, size } = source.file;
    if (size > MAX_CALIBRATION_BYTES) {
      throw new CalibrationError(
        `${name} has ${formatBytes(size)}; calibration text may have ${formatBytes(MAX_CALIBRATION_BYTES)}. A few thousand samples are plenty.`,
      );
    }
    return await parseSamples(name, await readChosen(source.file), source.column);
  }
  if (source.kind === "model") {
    if (!model.source.files.some(({ path }) => path === MODEL_TEXT)) {
      throw new CalibrationError(
        `There is no ${MODEL_TEXT} in ${model.source.label}. Choose a file or a data set.`,
      );
    }
    return await parseSamples(MODEL_TEXT, await remote.readFile(MODEL_TEXT, MAX_CALIBRATION_BYTES));
  }
  const { name, config, split, column } = source;
  const rows = await remote.datasetRows({ name, config, split, rows: Math.ceil(wanted * SPARE_ROWS) });
  const placed = rows.map((value, index) => ({ where: `Row ${index + 1} of ${name},`, value }));
  return readRows(name, placed, column);
}

async function readChosen(file: File): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (cause) {
    throw new CalibrationError(
      `${file.name} cannot be read: it was changed, moved or removed since it was chosen, or you may not read it. Look at its permissions, and choose it again.`,
      { cause },
    );
  }
}

/** Rows of the embedding table; ids from 0 up to it exist. */
function vocabularySize(model: OpenModel): number {
  const table = model.tensors.find(
    ({ name, shape }) => /embed_tokens\.weight$|wte\.weight$/.test(name) && shape.length === 2,
  );
  return table?.shape[0] ?? Number.MAX_SAFE_INTEGER;
}
