// config.json and the names of a checkpoint's tensors -> what its decoder computes. Data only: nothing is downloaded,
// nothing is computed. How to add a family: docs/adding-a-family.md.

import { MalformedModelError, UnsupportedModelError } from "../errors.ts";
import { checkNames, describedTensors } from "./check-tensors.ts";
import { type Config, DATA_FREE_HINT, isRecord } from "./parts/config-fields.ts";
import type { DecoderDescription } from "./decoder-description.ts";
import { type DecoderTensors, linear } from "./parts/decoder-parts.ts";
import { FAMILIES, FAMILY_NAMES } from "./families.ts";

/**
 * Multimodal models that scale or cap logits as their text decoder does alone; all others give what the head gives, whatever
 * text_config says of them.
 */
const SCALE_LOGITS = new Set(["cohere_compass", "gemma3n", "gemma4", "gemma4_unified", "granite4_vision"]);

/** What the text decoder's tensors may start with: inside a multimodal model, in newer and older files, and alone. */
const PREFIXES = [
  "model.language_model.",
  "model.text_model.",
  "language_model.model.",
  "model.",
  "language_model.",
  "gpt_neox.",
  "transformer.",
  "backbone.",
  "",
] as const;
/** What families call the table that tokens are looked up in. */
const EMBEDDINGS = ["embed_tokens", "embed_in", "word_embeddings", "embeddings"] as const;

/**
 * Describes the text decoder of a checkpoint from its config.json, in the forms of transformers 4 and 5.
 * @throws MalformedModelError if a field is absent, has the wrong type or is out of bounds.
 * @throws UnsupportedModelError naming the model type, the field or the tensor that is not understood.
 */
export function describeDecoder(config: Config, tensorNames: Iterable<string>): DecoderDescription {
  const names = new Set(tensorNames);
  const description = expectDecoder(config, names);
  checkNames(description, names);
  return description;
}

/** What config.json makes of the names, whether or not all that it reads is among them. */
function expectDecoder(config: Config, names: ReadonlySet<string>): DecoderDescription {
  const { family, text } = textDecoder(config);
  const scales = text === config || SCALE_LOGITS.has(String(config["model_type"]));
  const describe = Object.hasOwn(FAMILIES, family) ? FAMILIES[family] : undefined;
  if (!describe) {
    throw new UnsupportedModelError(
      `Calibration does not know models of type "${family}" (config.json, "model_type"). It knows ${FAMILY_NAMES.join(", ")}. ${DATA_FREE_HINT}`,
    );
  }
  const { prefix, embedding: table } = findEmbedding(names, family);
  const tensors: DecoderTensors = { prefix, embedding: table, has: (name) => names.has(name) };
  const body = describe(text, tensors);
  const { vocab_size: vocabSize, hidden_size: hiddenSize } = body.sizes;
  const embedding = `${prefix}${table}.weight`;
  const head = headModule(prefix, body.headName ?? "lm_head");
  const own = linear(head, vocabSize, hiddenSize, body.headBias);
  // Multimodal configs say it outside of text_config.
  const isAsked =
    typeof config["tie_word_embeddings"] === "boolean" ? config["tie_word_embeddings"] : body.tied;
  // As transformers loads it: a head that is in the files, too, is tied if the two are equal.
  const tied = isAsked && !names.has(own.source.tensor);
  return {
    family,
    hiddenSize,
    vocabSize,
    maxPositions: body.sizes.max_position_embeddings,
    embedding: { tensor: embedding, multiplier: body.embeddingMultiplier ?? 1 },
    tokenInputs: body.tokenInputs ?? null,
    layers: body.layers,
    finalNorm: body.finalNorm,
    head: {
      linear: tied ? { ...own, source: { ...own.source, tensor: embedding } } : own,
      tied,
      scale: scales ? (body.logitScale ?? 1) : 1,
      softCap: scales ? (body.logitSoftCap ?? null) : null,
    },
  };
}

/**
 * Names of tensors that the files of a known model lack beyond doubt: those that other layers have, and the head of a language
 * model (files of embedding models and classifiers hold none). None if anything else is not found: then it is another model.
 */
export function lackedTensors(config: Config, tensorNames: readonly string[]): string[] {
  const names = new Set(tensorNames);
  try {
    const description = expectDecoder(config, names);
    const head = description.head.linear.source.tensor;
    const hasHead = String([config["architectures"]].flat()[0]).endsWith("ForCausalLM");
    const expected = [...describedTensors(description).keys()];
    const lacked = expected.filter((name) => !names.has(name) && (hasHead || name !== head));
    const kinds = new Set(tensorNames.filter((name) => inAnyLayer(name) !== name).map(inAnyLayer));
    return lacked.every((name) => name === head || kinds.has(inAnyLayer(name))) ? lacked : [];
  } catch (error) {
    if (error instanceof UnsupportedModelError || error instanceof MalformedModelError) return [];
    throw error;
  }
}

function inAnyLayer(name: string): string {
  return name.replaceAll(/(?<=\.)\d+(?=\.)/g, "*");
}

/** Names among these that no loader reads of a model that is known; none of others. */
export function unreadTensors(config: Config, tensorNames: readonly string[]): ReadonlySet<string> {
  const known = new Set(tensorNames);
  try {
    const { layers } = describeDecoder(config, tensorNames);
    return new Set(layers.flatMap(({ unread }) => unread.filter((name) => known.has(name))));
  } catch (error) {
    if (error instanceof UnsupportedModelError || error instanceof MalformedModelError) return new Set();
    throw error;
  }
}

/** The part of config.json that describes the text decoder, and its type. */
function textDecoder(config: Config): { family: string; text: Config } {
  const nested = config["text_config"];
  const text = isRecord(nested) ? nested : config;
  const type = text["model_type"] ?? config["model_type"];
  if (typeof type !== "string") {
    throw new UnsupportedModelError(
      `config.json has no "model_type", so that calibration cannot tell what the model computes. ${DATA_FREE_HINT}`,
    );
  }
  return { family: type.slice(0, 100), text };
}

function findEmbedding(
  names: ReadonlySet<string>,
  family: string,
): Pick<DecoderTensors, "prefix" | "embedding"> {
  for (const prefix of PREFIXES) {
    const embedding = EMBEDDINGS.find((candidate) => names.has(`${prefix}${candidate}.weight`));
    if (embedding) return { prefix, embedding };
  }
  throw new UnsupportedModelError(
    `The checkpoint has no tensor "model.embed_tokens.weight", under this name or inside a multimodal model, though config.json calls it "${family}". ${DATA_FREE_HINT}`,
  );
}

/** "language_model.model." belongs to a head beside it, all others to one at the top. */
function headModule(prefix: string, name: string): string {
  return prefix === "language_model.model." ? `language_model.${name}` : name;
}
