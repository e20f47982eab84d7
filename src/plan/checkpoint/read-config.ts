// config.json as far as planning needs it. Everything else in it is carried through untouched; nothing is executed.

import * as v from "valibot";
import { MalformedModelError } from "../../errors.ts";
import { decodeUtf8, parseJson } from "../../formats/text/parse-json.ts";
import { quantizationField } from "../../formats/schemes/quantization-field.ts";
import { issueText, shorten } from "../../formats/text/show-value.ts";

/** Larger than any config.json, vision towers and all. */
export const MAX_CONFIG_BYTES = 4_000_000;

const nullableString = v.nullish(v.pipe(v.string(), v.maxLength(200)));

const configSchema = v.looseObject({
  architectures: v.nullish(v.array(v.pipe(v.string(), v.maxLength(200)))),
  model_type: nullableString,
  tie_word_embeddings: v.nullish(v.boolean()),
  quantization_config: v.nullish(v.looseObject({ quant_method: nullableString })),
});

export interface ModelConfig {
  /** The whole file, for the description of the decoder. */
  readonly raw: Readonly<Record<string, unknown>>;
  /** The same as text, for the result's config.json. */
  readonly text: string;
  readonly architecture: string | null;
  readonly modelType: string | null;
  /** `quant_method` of a model that is already quantized, or null. */
  readonly quantMethod: string | null;
}

/**
 * Parses config.json.
 * @throws MalformedModelError if it is not a JSON object, or a field that is used has the wrong type.
 */
export function readConfig(bytes: Uint8Array): ModelConfig {
  const text = decodeUtf8("config.json", bytes);
  const parsed = parseJson("config.json", text);
  const checked = v.safeParse(configSchema, parsed);
  if (!checked.success) {
    const [issue] = checked.issues;
    throw new MalformedModelError(
      `config.json: ${shorten(v.getDotPath(issue) ?? "the file")} is wrong: ${issueText(issue)}`,
    );
  }
  if (Array.isArray(parsed)) throw new MalformedModelError("config.json is a list, not an object.");
  const { architectures, model_type } = checked.output;
  const quantization = quantizationField(checked.output);
  const method = v.safeParse(nullableString, quantization?.["quant_method"]);
  if (!method.success) throw new MalformedModelError("config.json: quant_method is not a short text.");
  return {
    raw: checked.output,
    text,
    architecture: architectures?.[0] ?? null,
    modelType: model_type ?? null,
    quantMethod: quantization ? (method.output ?? "unknown") : null,
  };
}

/** Whether the output head may be the embedding: unless config.json says that it is not. */
export function tiesHead(raw: ModelConfig["raw"]): boolean {
  const text = raw["text_config"];
  const inner = typeof text === "object" && text && "tie_word_embeddings" in text ? text : {};
  const ties =
    raw["tie_word_embeddings"] ?? ("tie_word_embeddings" in inner ? inner.tie_word_embeddings : null);
  return ties !== false;
}
