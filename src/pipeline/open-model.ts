// A model as far as kilobytes tell: its files, config.json, safetensors headers and licence.

import { MalformedModelError } from "../errors.ts";
import { licenseOf, MAX_CARD_BYTES } from "../package/model-card.ts";
import { type DequantizedModule, dequantizedTensors } from "../plan/dequantized-tensors.ts";
import { MAX_CONFIG_BYTES, type ModelConfig, readConfig } from "../plan/read-config.ts";
import { readHeaders, type SourceTensor } from "../plan/read-headers.ts";
import { splitExperts } from "../plan/split-experts.ts";
import { summarizeTensors } from "../plan/summarize-model.ts";
import type { ModelSummary, OpenedSource, SourceReference } from "./api.ts";
import { calibrationNote } from "./calibration-note.ts";
import type { RemoteSource } from "./remote-source.ts";

export interface OpenModel {
  readonly reference: SourceReference;
  readonly source: OpenedSource;
  readonly config: ModelConfig;
  readonly tensors: readonly SourceTensor[];
  /** Weights that are stored as 8-bit or 4-bit floats and read as bfloat16; see `dequantizingSource`. */
  readonly dequantized: ReadonlyMap<string, DequantizedModule>;
  /** The source's README.md, or null. */
  readonly card: string | null;
  readonly summary: ModelSummary;
}

/**
 * Opens and inspects a model; no tensor is read.
 * @throws the errors of the source, MalformedModelError, or UnsupportedModelError for a model of quantized integers.
 */
export async function openModel(
  remote: RemoteSource,
  reference: SourceReference,
  token: string | null,
): Promise<OpenModel> {
  const source = await remote.open(reference, token);
  const config = await readModelConfig(remote, source);
  const stored = await readHeaders({
    files: source.files,
    readRange: async (range) => await remote.readRange(range),
    readFile: async (path, maxBytes) => await remote.readFile(path, maxBytes),
  });
  const { tensors: seen, modules: dequantized } =
    config.quantMethod === null
      ? { tensors: stored, modules: new Map() }
      : dequantizedTensors(source.label, stored, config.raw, config.quantMethod);
  const tensors = splitExperts(seen);
  const card = await readCard(remote, source);
  const summary = summarize(source, config, tensors, card);
  return { reference, source, config, tensors, dequantized, card, summary };
}

async function readModelConfig(remote: RemoteSource, source: OpenedSource): Promise<ModelConfig> {
  if (!source.files.some(({ path }) => path === "config.json")) {
    throw new MalformedModelError(
      `${source.label} has no config.json. Point at the folder that holds config.json beside the safetensors files.`,
    );
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
): ModelSummary {
  const totals = summarizeTensors(tensors);
  const notes: string[] = [];
  if (config.quantMethod !== null) {
    notes.push(
      `The weights are stored as low-precision floats (quant_method "${config.quantMethod}"); they are dequantized to bfloat16 first, and what they lost before stays lost.`,
    );
  }
  const calibration = totals.linears === 0 ? null : calibrationNote({ config, tensors });
  if (calibration !== null) notes.push(calibration);
  if (totals.linears === 0) notes.push("No Linear weight was found: there is nothing to quantize here.");
  if (!source.files.some(({ path }) => path === "tokenizer.json")) {
    notes.push("There is no tokenizer.json: the result will load, but needs a tokenizer from elsewhere.");
  }
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
