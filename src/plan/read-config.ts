// config.json as far as planning needs it. Everything else in it is carried through untouched; nothing is executed.

import * as v from "valibot";
import { MalformedModelError } from "../errors.ts";
import { decodeUtf8, parseJson } from "../formats/parse-json.ts";
import { issueText, shorten } from "../formats/show-value.ts";

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
  const { architectures, model_type, quantization_config } = checked.output;
  return {
    raw: checked.output,
    text,
    architecture: architectures?.[0] ?? null,
    modelType: model_type ?? null,
    quantMethod: quantization_config ? (quantization_config.quant_method ?? "unknown") : null,
  };
}
