// A model folder, original or quantized, opened for evaluation.

import { StorageError } from "../../errors.ts";
import { checkMixers } from "../../evaluate/graph/mixers/nodes-of.ts";
import { originalNames, type StoredModel } from "../../evaluate/weights/stored-model.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { modelReader } from "./model-reader.ts";
import { createModelTraffic } from "./model-traffic.ts";
import { readerOnce } from "./reader-once.ts";
import { dequantizedReader } from "../inspect/dequantizing-source.ts";
import { transposedReader } from "../inspect/transposing-source.ts";
import { noConfig } from "../inspect/no-config.ts";
import { openTokenizer } from "../inspect/open-tokenizer.ts";
import type { OpenTokenizer } from "../inspect/tokenizer-worker.ts";
import { findOutputFolder, openOutputFile } from "../../offload/job-folder.ts";
import { quantizationField } from "../../formats/schemes/quantization-field.ts";
import { bitsPerWeight, checkpointStorage } from "../../plan/checkpoint/bits-per-weight.ts";
import { type DequantizedTensors, dequantizedTensors } from "../../plan/checkpoint/dequantized-tensors.ts";
import { MAX_CONFIG_BYTES, readConfig, tiesHead } from "../../plan/checkpoint/read-config.ts";
import { readHeaders, type SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { splitExperts } from "../../plan/checkpoint/split-experts.ts";
import { readQuantization } from "../../plan/checkpoint/read-quantization.ts";
import type { EvaluatedModel, EvaluatedReference } from "../../api/evaluator-api.ts";
import type { DroppedFile, OpenedSource, SourceApi, SourceReference } from "../../api/source-api.ts";
import { waitLater } from "../../wait-later.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";

export interface OpenStoredModel {
  readonly stored: StoredModel;
  readonly source: SourceApi;
  readonly summary: EvaluatedModel;
  readonly tokenizer: OpenTokenizer | null;
  /** Ids that end a generation, from generation_config.json or config.json. */
  readonly endIds: ReadonlySet<number>;
}

/** @throws the source's errors, MalformedModelError, UnsupportedModelError */
export async function openStoredModel(
  source: SourceApi,
  reference: EvaluatedReference,
  token: string | null,
): Promise<OpenStoredModel> {
  const opened = await source.open(await sourceReference(reference), token);
  // All that is read comes at once, as far as one does not tell where another lies.
  const tokenizing = waitLater(openTokenizer(source, opened.files));
  try {
    const config = await readConfigFile(source, opened);
    const ending = waitLater(readEndIds(source, opened, config));
    const { stored, files, bits } = await openWeights(source, opened, config);
    const tokenizer = await tokenizing;
    const summary = {
      source: opened,
      format: formatOf(config),
      weightBytes: files.reduce((sum, { start, end }) => sum + end - start, 0),
      bitsPerWeight: bits,
      hasTokenizer: tokenizer !== null,
      hasChatTemplate: tokenizer?.hasChatTemplate ?? false,
      maxPositions: stored.description.maxPositions,
    };
    return { stored, source, summary, tokenizer, endIds: await ending };
  } catch (error) {
    const close = (tokenizer: OpenTokenizer | null) => tokenizer?.[Symbol.dispose]();
    tokenizing.then(close, () => undefined);
    throw error;
  }
}

/** The model as its files hold it, their tensors, and the bits that a weight takes. */
async function openWeights(source: SourceApi, opened: OpenedSource, config: RawConfig) {
  const reader = {
    files: opened.files,
    readRange: async (range: FileRange) => await source.readRange(range),
    readFile: async (path: string, maxBytes: number) => await source.readFile(path, maxBytes),
  };
  const { tensors: files } = await readHeaders(reader, tiesHead(config));
  const seen = await plainWeights(source, opened.label, config, files);
  // Codes of compressed-tensors are dequantized where rows of them are read.
  const plain = methodOf(config) === COMPRESSED_TENSORS ? null : seen;
  const { tensors, transposed: split } = splitExperts(plain?.tensors ?? files);
  const transposed = new Map([...(plain?.transposed ?? []), ...split]);
  const readTransposed = transposedReader(transposed);
  const readDequantized = dequantizedReader(plain?.modules ?? new Map());
  const readFile = async (range: FileRange) => await source.read(range);
  const readPlain = async (range: FileRange) =>
    await (plain?.modules.has(range.path) ? readDequantized(range, readFile) : readFile(range));
  const read = async (range: FileRange) =>
    await (transposed.has(range.path) ? readTransposed(range, readPlain) : readPlain(range));
  const partsOf = (range: FileRange): readonly FileRange[] =>
    partsIn(plain?.modules ?? new Map(), transposed, range);
  const stored = storedModel({ source, read, config, tensors, files, partsOf });
  const bits = bitsPerWeight(checkpointStorage(files, seen, linearClasses(config)));
  return { stored, files, bits };
}

/** The plain weights that the codes of a quantized model mean; null for one that is not quantized. */
async function plainWeights(
  source: SourceApi,
  label: string,
  config: RawConfig,
  tensors: readonly SourceTensor[],
): Promise<DequantizedTensors | null> {
  const method = methodOf(config);
  if (method === null) return null;
  const read = async ({ file: path, start, end }: SourceTensor) => await source.read({ path, start, end });
  return await dequantizedTensors({ label, tensors, config, method, read });
}

const COMPRESSED_TENSORS = "compressed-tensors";

function methodOf(config: RawConfig): string | null {
  const field = quantizationField(config);
  const method = field?.["quant_method"];
  return field && (typeof method === "string" ? method.slice(0, 100) : "unknown");
}

/** A job's result is read like dropped files. */
async function sourceReference(reference: EvaluatedReference): Promise<SourceReference> {
  if (reference.kind !== "job") return reference;
  const folder = await findOutputFolder(reference.jobId);
  if (!folder) throw new StorageError("The result is no longer in the browser’s storage.");
  const files: DroppedFile[] = [];
  for await (const [name, handle] of folder.entries()) {
    if (handle.kind === "file") {
      files.push({ path: name, file: await openOutputFile(folder, name) });
    }
  }
  return { kind: "files", files };
}

async function readConfigFile(source: SourceApi, { label, files }: OpenedSource) {
  if (!files.some(({ path }) => path === "config.json")) {
    throw noConfig(label, files);
  }
  return readConfig(await source.readFile("config.json", MAX_CONFIG_BYTES)).raw;
}

type RawConfig = Readonly<Record<string, unknown>>;

/** Where a range of a file that is made of others really lies, or all that the file is made of. */
function partsIn(
  modules: DequantizedTensors["modules"],
  transposed: DequantizedTensors["transposed"],
  range: FileRange,
): readonly FileRange[] {
  const parts = transposed.get(range.path) ?? [...(modules.get(range.path)?.found.parts.values() ?? [])];
  if (parts.length === 0) return [range];
  return parts.flatMap(({ file: path, start, end }) => partsIn(modules, transposed, { path, start, end }));
}

interface StoredFiles {
  readonly source: SourceApi;
  readonly read: (range: FileRange) => Promise<Uint8Array<ArrayBuffer>>;
  readonly config: RawConfig;
  readonly tensors: readonly SourceTensor[];
  /** Tensors as they lie in files. */
  readonly files: readonly SourceTensor[];
  readonly partsOf: (range: FileRange) => readonly FileRange[];
}

function storedModel(stored: StoredFiles): StoredModel {
  const { source, config, tensors, files, partsOf } = stored;
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const description = describeDecoder(config, originalNames(byName.keys()));
  checkShapes(description, tensors);
  checkMixers(description);
  const quantization = methodOf(config) === COMPRESSED_TENSORS ? readQuantization(config) : null;
  const schemeOf = (module: string) => quantization?.schemeOf(module) ?? null;
  const traffic = createModelTraffic({ source, description, tensors, files, partsOf });
  const among = { description, byName, schemeOf, announce: traffic.announce };
  const again = modelReader(among, async (_tensor, range) => await stored.read(range));
  return { ...again, once: () => readerOnce(among, { ...stored, traffic, again }) };
}

function formatOf(config: RawConfig): string {
  const format = quantizationField(config)?.["format"];
  return typeof format === "string" ? format.slice(0, 100) : (methodOf(config) ?? "original");
}

async function readEndIds(
  source: SourceApi,
  { files }: OpenedSource,
  config: RawConfig,
): Promise<ReadonlySet<number>> {
  const path = "generation_config.json";
  const own = files.some((file) => file.path === path)
    ? readConfig(await source.readFile(path, MAX_CONFIG_BYTES)).raw
    : {};
  const ids: unknown = own["eos_token_id"] ?? config["eos_token_id"];
  const list: unknown[] = Array.isArray(ids) ? ids : [ids];
  return new Set(list.filter((id) => typeof id === "number"));
}
