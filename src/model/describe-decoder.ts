// config.json and the names of a checkpoint's tensors -> what its decoder computes. Data only: nothing is downloaded,
// nothing is computed. How to add a family: docs/adding-a-family.md.

import { MalformedModelError, UnsupportedModelError } from "../errors.ts";
import { checkNames, describedTensors } from "./check-tensors.ts";
import { type Config, DATA_FREE_HINT, isRecord } from "./parts/config-fields.ts";
import type { DecoderDescription } from "./decoder-description.ts";
import { type DecoderTensors, type DescribeFamily, linear } from "./parts/decoder-parts.ts";
import { describeAfmoe } from "./families/afmoe.ts";
import { describeApertus } from "./families/apertus.ts";
import { describeArcee } from "./families/arcee.ts";
import { describeBamba } from "./families/bamba.ts";
import { describeCohere } from "./families/cohere.ts";
import { describeCohere2 } from "./families/cohere2.ts";
import { describeDeepseekV2, describeDeepseekV3 } from "./families/deepseek.ts";
import { describeDots1 } from "./families/dots1.ts";
import { describeErnie45 } from "./families/ernie4-5.ts";
import { describeErnie45Moe } from "./families/ernie4-5-moe.ts";
import { describeExaone4 } from "./families/exaone4.ts";
import { describeFalcon } from "./families/falcon.ts";
import { describeFalconH1 } from "./families/falcon-h1.ts";
import { describeGemma } from "./families/gemma.ts";
import { describeGemma2 } from "./families/gemma2.ts";
import { describeGemma3 } from "./families/gemma3.ts";
import { describeGemma4 } from "./families/gemma4.ts";
import { describeGlm, describeGlm4 } from "./families/glm.ts";
import { describeGlm4Moe } from "./families/glm4-moe.ts";
import { describeGptNeox } from "./families/gpt-neox.ts";
import { describeGptOss } from "./families/gpt-oss.ts";
import { describeGranite } from "./families/granite.ts";
import { describeGraniteMoe } from "./families/granite-moe.ts";
import { describeGraniteMoeHybrid } from "./families/granite-moe-hybrid.ts";
import { describeHelium } from "./families/helium.ts";
import { describeHunyuanDense } from "./families/hunyuan-dense.ts";
import { describeHunyuanMoe } from "./families/hunyuan-moe.ts";
import { describeLfm2 } from "./families/lfm2.ts";
import { describeLlama } from "./families/llama.ts";
import { describeLlama4 } from "./families/llama4.ts";
import { describeMimoV2 } from "./families/mimo-v2.ts";
import { describeMinimaxM2 } from "./families/minimax-m2.ts";
import { describeMinistral3 } from "./families/ministral3.ts";
import { describeMistral } from "./families/mistral.ts";
import { describeMixtral } from "./families/mixtral.ts";
import { describeNemotron } from "./families/nemotron.ts";
import { describeNemotronH } from "./families/nemotron-h.ts";
import { describeOlmo2 } from "./families/olmo2.ts";
import { describeOlmo3 } from "./families/olmo3.ts";
import { describeOlmoe } from "./families/olmoe.ts";
import { describePhi } from "./families/phi.ts";
import { describePhi3 } from "./families/phi3.ts";
import { describePhimoe } from "./families/phimoe.ts";
import { describeQwen2 } from "./families/qwen2.ts";
import { describeQwen2Moe } from "./families/qwen2-moe.ts";
import { describeQwen3 } from "./families/qwen3.ts";
import { describeQwen35, describeQwen35Moe } from "./families/qwen3-5.ts";
import { describeQwen3Moe } from "./families/qwen3-moe.ts";
import { describeQwen3Next } from "./families/qwen3-next.ts";
import { describeSeedOss } from "./families/seed-oss.ts";
import { describeSmollm3 } from "./families/smollm3.ts";
import { describeStablelm } from "./families/stablelm.ts";
import { describeStarcoder2 } from "./families/starcoder2.ts";

/** By `model_type`; multimodal models by that of their `text_config`. */
const FAMILIES: Readonly<Record<string, DescribeFamily>> = {
  afmoe: describeAfmoe,
  apertus: describeApertus,
  arcee: describeArcee,
  bamba: describeBamba,
  cohere: describeCohere,
  cohere2: describeCohere2,
  deepseek_v2: describeDeepseekV2,
  deepseek_v3: describeDeepseekV3,
  dots1: describeDots1,
  ernie4_5: describeErnie45,
  ernie4_5_moe: describeErnie45Moe,
  exaone4: describeExaone4,
  falcon: describeFalcon,
  falcon_h1: describeFalconH1,
  gemma: describeGemma,
  gemma2: describeGemma2,
  gemma3_text: describeGemma3,
  gemma4_text: describeGemma4,
  glm: describeGlm,
  glm4: describeGlm4,
  glm4_moe: describeGlm4Moe,
  gpt_neox: describeGptNeox,
  gpt_oss: describeGptOss,
  granite: describeGranite,
  granitemoe: describeGraniteMoe,
  granitemoehybrid: describeGraniteMoeHybrid,
  helium: describeHelium,
  hunyuan_v1_dense: describeHunyuanDense,
  hunyuan_v1_moe: describeHunyuanMoe,
  lfm2: describeLfm2,
  llama: describeLlama,
  llama4_text: describeLlama4,
  mimo_v2_flash: describeMimoV2,
  minimax_m2: describeMinimaxM2,
  ministral3: describeMinistral3,
  mistral: describeMistral,
  mixtral: describeMixtral,
  nemotron: describeNemotron,
  nemotron_h: describeNemotronH,
  olmo2: describeOlmo2,
  olmo3: describeOlmo3,
  olmoe: describeOlmoe,
  phi: describePhi,
  phi3: describePhi3,
  phimoe: describePhimoe,
  qwen2: describeQwen2,
  qwen2_5_vl: describeQwen2Vl,
  qwen2_5_vl_text: describeQwen2Vl,
  qwen2_moe: describeQwen2Moe,
  qwen2_vl: describeQwen2Vl,
  qwen2_vl_text: describeQwen2Vl,
  qwen3: describeQwen3,
  qwen3_5_moe_text: describeQwen35Moe,
  qwen3_5_text: describeQwen35,
  qwen3_moe: describeQwen3Moe,
  qwen3_next: describeQwen3Next,
  qwen3_vl_moe_text: describeQwen3VlMoe,
  qwen3_vl_text: describeQwen3Vl,
  seed_oss: describeSeedOss,
  smollm3: describeSmollm3,
  stablelm: describeStablelm,
  starcoder2: describeStarcoder2,
};

/** Qwen2 with other defaults. */
function describeQwen2Vl(config: Config, tensors: DecoderTensors) {
  const sizes = {
    hidden_size: 8192,
    intermediate_size: 29_568,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    max_window_layers: 80,
  };
  return describeQwen2({ ...sizes, rms_norm_eps: 1e-5, rope_theta: 1_000_000, ...config }, tensors);
}

/** Qwen3 and its mixture with other defaults, and without windows, whatever config.json says. */
const QWEN3_VL = { rope_theta: 500_000, max_position_embeddings: 128_000 };
const NO_WINDOWS = { use_sliding_window: false, layer_types: null };

function describeQwen3Vl(config: Config, tensors: DecoderTensors) {
  return describeQwen3({ ...QWEN3_VL, ...config, ...NO_WINDOWS }, tensors);
}

function describeQwen3VlMoe(config: Config, tensors: DecoderTensors) {
  const sizes = {
    num_attention_heads: 16,
    num_key_value_heads: 16,
    moe_intermediate_size: 1408,
    num_local_experts: 60,
    num_experts_per_tok: 4,
  };
  const fixed = { ...NO_WINDOWS, norm_topk_prob: true };
  return describeQwen3Moe({ ...QWEN3_VL, ...sizes, ...config, ...fixed }, tensors);
}

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

/** Types of models that can be calibrated, for messages and documentation. */
export const FAMILY_NAMES: readonly string[] = Object.keys(FAMILIES);

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
