// A model as far as kilobytes tell: its files, config.json, safetensors headers and licence.

import { type LinearClasses, linearClasses } from "../../model/linear-classes.ts";
import { licenseOf, MAX_CARD_BYTES } from "../../package/model-card.ts";
import { isCarried, leftOutNote } from "../../package/small-files.ts";
import { type DequantizedTensors, dequantizedTensors } from "../../plan/checkpoint/dequantized-tensors.ts";
import { checkLayers } from "../../plan/checkpoint/check-complete.ts";
import {
  MAX_CONFIG_BYTES,
  type ModelConfig,
  readConfig,
  tiesHead,
} from "../../plan/checkpoint/read-config.ts";
import { keepsFused, keptFusedNote } from "../../plan/notes/expert-notes.ts";
import { plainWeightNotes } from "../../plan/notes/plain-weight-notes.ts";
import { readHeaders, type SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import type { RotatedTensors } from "../../plan/rotation/rotated-tensors.ts";
import { isStacked, splitExperts, type TransposedWeight } from "../../plan/checkpoint/split-experts.ts";
import { readQuantization } from "../../plan/checkpoint/read-quantization.ts";
import { summarizeQuantization } from "../../plan/checkpoint/summarize-quantization.ts";
import { summarizeTensors } from "../../plan/checkpoint/summarize-model.ts";
import type { ModelSummary, QuantizationSummary } from "../../api/compressor-api.ts";
import { unreadTensors } from "../../model/describe-decoder.ts";
import { calibrationNote, lackingNote } from "./describe-model.ts";
import { dequantizingSource } from "./dequantizing-source.ts";
import { noConfig } from "./no-config.ts";
import type { RemoteSource } from "./remote-source.ts";
import { rotatingSource } from "./rotating-source.ts";
import { transposingSource } from "./transposing-source.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { OpenedSource, SourceReference } from "../../api/source-api.ts";
import type { DequantizedModule } from "../../plan/checkpoint/dequantized-module.ts";

/** What is rotated, and by what; nothing, unless a recipe says so. */
export type Rotation = Omit<RotatedTensors, "tensors">;

const NO_ROTATION: Rotation = { rotated: new Map(), seed: null, untiedBytes: 0 };

export interface OpenModel {
  readonly reference: SourceReference;
  readonly source: OpenedSource;
  readonly config: ModelConfig;
  readonly tensors: readonly SourceTensor[];
  /** The same with all experts of a layer in one tensor, where the files hold them so. */
  readonly unsplit: readonly SourceTensor[];
  /** Weights that are stored quantized and read as plain ones; see `dequantizingSource`. */
  readonly dequantized: ReadonlyMap<string, DequantizedModule>;
  /** Experts' weights that lie turned over in the files; see `transposingSource`. */
  readonly transposed: ReadonlyMap<string, readonly TransposedWeight[]>;
  /** Tensors that are read as those of a rotated model; see `rotateModel`. */
  readonly rotation: Rotation;
  /** Bytes of the files that no tensor is read from. */
  readonly unread: readonly FileRange[];
  /** The source's README.md, or null. */
  readonly card: string | null;
  readonly summary: ModelSummary;
}

/**
 * Opens and inspects a model; no tensor is read.
 * @throws the errors of the source, MalformedModelError, or UnsupportedModelError for a model that is quantized in a way that is not known.
 */
export async function openModel(
  remote: RemoteSource,
  reference: SourceReference,
  token: string | null,
): Promise<OpenModel> {
  const source = await remote.open(reference, token);
  const config = await readModelConfig(remote, source);
  await checkPointers(remote, source);
  const reader = {
    files: source.files,
    readRange: async (range: FileRange) => await remote.readRange(range),
    readFile: async (path: string, maxBytes: number) => await remote.readFile(path, maxBytes),
  };
  const { tensors: stored, notes: fileNotes } = await readHeaders(reader, tiesHead(config.raw));
  checkLayers(
    stored.map(({ name }) => name),
    config.raw,
  );
  const quantized = await openQuantized(remote, source, config, stored);
  const classes = linearClasses(config.raw);
  const plain = quantized?.tensors ?? stored;
  const { tensors: all, transposed: split } = keepsFused(classes)
    ? { tensors: plain, transposed: new Map<string, readonly TransposedWeight[]>() }
    : splitExperts(plain);
  const { tensors, notes: droppedNotes } = withoutUnread(config, all);
  const transposed = new Map([...(quantized?.transposed ?? []), ...split]);
  const card = await readCard(remote, source);
  const quantization = quantized && summarizeQuantized(config, stored, quantized, classes);
  const quantizedAlready =
    quantized && quantization ? quantizedNotes(quantization, quantized.disagreements) : [];
  const notes = [...fileNotes, ...quantizedAlready, ...droppedNotes];
  const weightBytes = stored.reduce((sum, { start, end }) => sum + end - start, 0);
  const summary = { ...summarize(source, config, tensors, card, notes), weightBytes, quantization };
  const dequantized = quantized?.modules ?? new Map<string, DequantizedModule>();
  const unread = quantized ? unreadRanges(stored, quantized) : [];
  return {
    reference,
    source,
    config,
    tensors,
    unsplit: plain,
    dequantized,
    transposed,
    rotation: NO_ROTATION,
    unread,
    card,
    summary,
  };
}

/** Leaves out what no loader reads, and says so. */
function withoutUnread({ raw }: ModelConfig, all: readonly SourceTensor[]) {
  const dropped = unreadTensors(
    raw,
    all.map(({ name }) => name),
  );
  const [first] = dropped;
  if (first === undefined) return { tensors: all, notes: [] };
  const note = `${dropped.size} tensors stay behind (${first} and others): their layers share keys and values of an earlier one, and no loader reads them.`;
  return { tensors: all.filter(({ name }) => !dropped.has(name)), notes: [note] };
}

/** The source as the model's tensors name it: with weights that are made of what the files hold. */
export function modelSource(
  remote: RemoteSource,
  model: Pick<OpenModel, "dequantized" | "transposed" | "rotation" | "unread">,
): RemoteSource {
  const { dequantized, transposed, rotation, unread } = model;
  const plain = transposingSource(dequantizingSource(remote, dequantized, unread), transposed);
  return rotatingSource(plain, rotation);
}

/** Headers, and tensors that dequantizing leaves out: the scales of activations and of the key-value cache. */
function unreadRanges(
  stored: readonly SourceTensor[],
  { tensors, modules }: DequantizedTensors,
): FileRange[] {
  const place = ({ file, start }: SourceTensor) => `${file} ${start}`;
  const read = new Set(tensors.map(place));
  for (const { found } of modules.values()) for (const own of found.parts.values()) read.add(place(own));
  const headers = new Map<string, number>();
  for (const { file, start } of stored) headers.set(file, Math.min(headers.get(file) ?? start, start));
  const left = stored.filter((tensor) => !read.has(place(tensor)));
  return [
    ...Array.from(headers, ([path, end]) => ({ path, start: 0, end })),
    ...left.map(({ file: path, start, end }) => ({ path, start, end })),
  ];
}

/** The plain weights that a quantized model means; null for a model that is not quantized. */
async function openQuantized(
  remote: RemoteSource,
  { label }: OpenedSource,
  { raw, quantMethod: method }: ModelConfig,
  tensors: readonly SourceTensor[],
): Promise<DequantizedTensors | null> {
  if (method === null) return null;
  const read = async ({ file: path, start, end }: SourceTensor) =>
    await remote.readRange({ path, start, end });
  return await dequantizedTensors({ label, tensors, config: raw, method, read });
}

function summarizeQuantized(
  { raw, quantMethod }: ModelConfig,
  stored: readonly SourceTensor[],
  quantized: DequantizedTensors,
  classes: LinearClasses,
): QuantizationSummary {
  const kvCache = quantMethod === "compressed-tensors" ? (readQuantization(raw)?.kvCache ?? null) : null;
  return summarizeQuantization({ method: quantMethod ?? "", stored, seen: quantized, kvCache, classes });
}

/** Disagreements that are told one by one; of more only the number is. */
const SHOWN_DISAGREEMENTS = 3;

function quantizedNotes(
  { schemes, method, modules }: QuantizationSummary,
  disagreements: readonly string[],
): string[] {
  if (modules.length === 0) return disagreements.slice(0, SHOWN_DISAGREEMENTS);
  const more = disagreements.length - SHOWN_DISAGREEMENTS;
  return [
    `This model is quantized already (${schemes.join(", ")}; ${method}). UNQUANTIZED writes its weights back as plain ones; every other recipe adds its own error to what was lost before.`,
    ...disagreements.slice(0, SHOWN_DISAGREEMENTS),
    ...(more > 0 ? [`${more} more modules have the same trouble.`] : []),
  ];
}

/** Sizes that Git LFS pointers have: two fixed lines and the digits of a size. */
const POINTER_BYTES = { least: 120, most: 160 };

/** A small file that is a pointer would come along as one: told before the work, not by whoever loads the result. */
async function checkPointers(remote: RemoteSource, { files, repository }: OpenedSource): Promise<void> {
  // The Hub gives files, never pointers.
  if (repository !== null) return;
  const { least, most } = POINTER_BYTES;
  const suspects = files.filter(
    ({ path, bytes }) => bytes >= least && bytes <= most && isCarried(path, bytes),
  );
  for (const { path } of suspects) await remote.readFile(path, most);
}

async function readModelConfig(remote: RemoteSource, source: OpenedSource): Promise<ModelConfig> {
  if (!source.files.some(({ path }) => path === "config.json")) {
    throw noConfig(source.label, source.files);
  }
  const config = readConfig(await remote.readFile("config.json", MAX_CONFIG_BYTES));
  return config;
}

async function readCard(remote: RemoteSource, source: OpenedSource): Promise<string | null> {
  const card = source.files.find(({ path }) => path === "README.md");
  if (!card || card.bytes > MAX_CARD_BYTES) return null;
  return new TextDecoder().decode(await remote.readFile(card.path, MAX_CARD_BYTES));
}

function summarize(
  source: OpenedSource,
  config: ModelConfig,
  tensors: readonly SourceTensor[],
  card: string | null,
  known: readonly string[],
): Omit<ModelSummary, "quantization"> {
  const classes = linearClasses(config.raw);
  const totals = summarizeTensors(tensors, classes);
  const notes = [...known];
  const calibration = totals.linears === 0 ? null : calibrationNote({ config, tensors });
  if (calibration !== null) notes.push(calibration);
  const lacking = lackingNote({ config, tensors });
  if (lacking !== null) notes.push(lacking);
  if (tensors.some(({ name }) => name.endsWith(".experts.gate_up_proj_bias"))) {
    notes.push(
      "The experts have biases, and gates and ups that alternate in one tensor, as gpt-oss has them. What servers expect of such experts when they are quantized is not certain: they stay as they are, and only the other Linears are quantized.",
    );
  } else if (keepsFused(classes) && tensors.some(isStacked)) {
    notes.push(keptFusedNote(classes, tensors.filter(isStacked).length));
  }
  notes.push(...plainWeightNotes(tensors, classes));
  if (totals.linears === 0) notes.push("No Linear weight was found: there is nothing to quantize here.");
  if (!source.files.some(({ path }) => path === "tokenizer.json")) {
    notes.push("There is no tokenizer.json: the result will load, but needs a tokenizer from elsewhere.");
  }
  const leftOut = leftOutNote(source.files);
  if (leftOut !== null) notes.push(leftOut);
  return {
    source,
    architecture: config.architecture ?? "unknown",
    modelType: config.modelType,
    parameters: totals.parameters,
    dtypes: totals.dtypes,
    layers: totals.layers,
    weightBytes: totals.weightBytes,
    shards: totals.shards,
    license: card === null ? null : licenseOf(card),
    notes,
  };
}
