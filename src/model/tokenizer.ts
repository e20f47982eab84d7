// The model's own tokenizer and chat template, from its tokenizer.json, tokenizer_config.json and chat_template.jinja.

import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import * as v from "valibot";
import { CalibrationError, MalformedModelError } from "../errors.ts";
import { shorten } from "../formats/show-value.ts";
import { type GuardedTokenizer, guardedTokenizer, told } from "./guarded-tokenizer.ts";

/** Largest tokenizer.json in the wild is about 35 MB. */
export const MAX_TOKENIZER_BYTES = 100_000_000;
/** Real templates are a few kilobytes; they are programs from strangers. */
const MAX_TEMPLATE_LENGTH = 200_000;

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ModelTokenizer {
  /** Ids of a text, with the special tokens that the tokenizer's post-processor adds. */
  encode(text: string): Uint32Array<ArrayBuffer>;
  /** Ids of a conversation through the chat template, which writes its own special tokens. */
  encodeChat(messages: readonly ChatMessage[], addGenerationPrompt: boolean): Uint32Array<ArrayBuffer>;
  decode(ids: Uint32Array, skipSpecialTokens?: boolean): string;
  readonly hasChatTemplate: boolean;
}

const specialToken = v.union([v.string(), v.looseObject({ content: v.string() })]);

const configSchema = v.looseObject({
  bos_token: v.nullish(specialToken),
  eos_token: v.nullish(specialToken),
  chat_template: v.nullish(
    v.union([v.string(), v.array(v.looseObject({ name: v.string(), template: v.string() }))]),
  ),
});

export interface TokenizerFiles {
  readonly tokenizerJson: Uint8Array;
  readonly tokenizerConfig: Uint8Array | null;
  /** chat_template.jinja, which newer models have beside tokenizer_config.json. */
  readonly chatTemplate: Uint8Array | null;
}

/**
 * Loads a tokenizer.
 * @throws MalformedModelError if a file cannot be understood.
 */
export function loadTokenizer(files: TokenizerFiles): ModelTokenizer {
  const tokenizerJson = parseObject("tokenizer.json", files.tokenizerJson);
  const config = files.tokenizerConfig ? parseObject("tokenizer_config.json", files.tokenizerConfig) : {};
  const checked = v.safeParse(configSchema, config);
  if (!checked.success) {
    throw new MalformedModelError(`tokenizer_config.json: ${checked.issues[0].message}`);
  }
  let tokenizer: GuardedTokenizer;
  try {
    tokenizer = guardedTokenizer(new Tokenizer(tokenizerJson, config));
  } catch (cause) {
    throw new MalformedModelError(`tokenizer.json cannot be used: ${String(cause)}`, { cause });
  }
  const { bos_token, eos_token, chat_template } = checked.output;
  const templateText = files.chatTemplate
    ? new TextDecoder().decode(files.chatTemplate)
    : templateOf(chat_template);
  const template = templateText === null ? null : parseTemplate(templateText);
  const names = { bos_token: tokenText(bos_token), eos_token: tokenText(eos_token) };
  return {
    encode: (text) => tokenizer.encode(text, true),
    encodeChat(messages, addGenerationPrompt) {
      if (!template) {
        throw new CalibrationError(
          "The calibration samples are conversations, but this model has no chat template. Use plain text, or an instruct version of the model.",
        );
      }
      const said = shorten(messages[0]?.content ?? "");
      const text = told(`The chat template failed on the conversation that begins "${said}"`, () =>
        template.render({ messages, add_generation_prompt: addGenerationPrompt, ...names }),
      );
      return tokenizer.encode(text, false);
    },
    decode: (ids, skipSpecialTokens = false) => tokenizer.decode(ids, skipSpecialTokens),
    hasChatTemplate: template !== null,
  };
}

function parseObject(name: string, bytes: Uint8Array): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof parsed === "object" && parsed !== null) return { ...parsed };
  } catch (cause) {
    throw new MalformedModelError(`${name} is not JSON.`, { cause });
  }
  throw new MalformedModelError(`${name} is not a JSON object.`);
}

type ChatTemplateField = v.InferOutput<typeof configSchema>["chat_template"];

function templateOf(field: ChatTemplateField): string | null {
  if (typeof field === "string") return field;
  if (!field) return null;
  return (field.find(({ name }) => name === "default") ?? field[0])?.template ?? null;
}

function parseTemplate(text: string): Template {
  if (text.length > MAX_TEMPLATE_LENGTH) {
    throw new MalformedModelError(
      `The chat template has ${text.length} characters; ${MAX_TEMPLATE_LENGTH} is the most that is read.`,
    );
  }
  try {
    return new Template(text);
  } catch (cause) {
    throw new MalformedModelError(`The chat template cannot be parsed: ${String(cause)}`, { cause });
  }
}

function tokenText(token: v.InferOutput<typeof specialToken> | null | undefined): string | undefined {
  return typeof token === "string" ? token : token?.content;
}
