// The model's own tokenizer and chat template, from its tokenizer.json, tokenizer_config.json and chat_template.jinja.

import { Tokenizer } from "@huggingface/tokenizers";
import * as v from "valibot";
import { CalibrationError, MalformedModelError } from "../../errors.ts";
import { parseJsonBytes } from "../../formats/text/parse-json.ts";
import { chatTemplate } from "../chat/chat-template.ts";
import type { Conversation } from "../chat/conversation.ts";
import { type GuardedTokenizer, guardedTokenizer } from "./guarded-tokenizer.ts";

/** Largest tokenizer.json in the wild is about 35 MB. */
export const MAX_TOKENIZER_BYTES = 100_000_000;
/** A tokenizer in this thread, which a stranger's pattern or template may never give back: see `open-tokenizer.ts`. */
export interface LoadedTokenizer {
  /** Ids of a text, with the special tokens that the tokenizer's post-processor adds. */
  encode(text: string): Uint32Array<ArrayBuffer>;
  /**
   * Ids of a conversation through the chat template, which writes its own special tokens.
   * @param where what the conversation is called if the template refuses it
   * @throws CalibrationError if there is no template, or it refuses the conversation.
   */
  encodeChat(
    conversation: Conversation,
    addGenerationPrompt: boolean,
    where?: string,
  ): Uint32Array<ArrayBuffer>;
  decode(ids: Uint32Array, skipSpecialTokens?: boolean): string;
  readonly hasChatTemplate: boolean;
}

const specialToken = v.union([v.string(), v.looseObject({ content: v.string() })]);

/** transformers' `SPECIAL_TOKENS_ATTRIBUTES`: variables of chat templates. */
const SPECIAL_TOKENS = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

const configSchema = v.looseObject({
  ...v.entriesFromList(SPECIAL_TOKENS, v.nullish(specialToken)),
  chat_template: v.nullish(
    v.union([v.string(), v.array(v.looseObject({ name: v.string(), template: v.string() }))]),
  ),
});

export interface TokenizerFiles {
  readonly tokenizerJson: Uint8Array;
  readonly tokenizerConfig: Uint8Array | null;
  /**
   * Templates in files of their own, by name, which come before those of tokenizer_config.json: chat_template.jinja is
   * "default", additional_chat_templates/tool_use.jinja "tool_use".
   */
  readonly chatTemplates: ReadonlyMap<string, Uint8Array>;
  /** chat_template.json, where older processors have theirs: the last resort. */
  readonly processorTemplate: Uint8Array | null;
}

/**
 * Loads a tokenizer.
 * @throws MalformedModelError if a file cannot be understood.
 */
export function loadTokenizer(files: TokenizerFiles): LoadedTokenizer {
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
    throw new MalformedModelError(
      `tokenizer.json cannot be used: ${refusal(cause)}. Download the file again, or give token ids as JSON instead of text.`,
      { cause },
    );
  }
  const templates = templatesOf(files, checked.output.chat_template);
  const template = templates.size === 0 ? null : chatTemplate(templates, specialTokens(checked.output));
  return {
    encode: (text) => tokenizer.encode(text, true),
    encodeChat(conversation, addGenerationPrompt, where = "The conversation") {
      if (!template) {
        throw new CalibrationError(
          "The calibration samples are conversations, but this model has no chat template. Use plain text, or an instruct version of the model.",
        );
      }
      return tokenizer.encode(template.render(conversation, addGenerationPrompt, where), false);
    },
    decode: (ids, skipSpecialTokens = false) => tokenizer.decode(ids, skipSpecialTokens),
    hasChatTemplate: template !== null,
  };
}

/** What the library says of a file; where it only fails over it, that says nothing of the file. */
function refusal(cause: unknown): string {
  const isSaid = cause instanceof Error && !(cause instanceof TypeError);
  return isSaid
    ? cause.message.replace(/\.$/, "")
    : "one of its parts is missing, or is not of the right kind";
}

function parseObject(name: string, bytes: Uint8Array): Record<string, unknown> {
  const parsed = parseJsonBytes(name, bytes);
  if (typeof parsed === "object" && parsed !== null) return { ...parsed };
  throw new MalformedModelError(`${name} is not a JSON object.`);
}

type TokenizerConfig = v.InferOutput<typeof configSchema>;

/** Templates in files replace those of tokenizer_config.json altogether, as transformers loads them. */
function templatesOf(
  { chatTemplates: files, processorTemplate }: TokenizerFiles,
  field: TokenizerConfig["chat_template"],
): ReadonlyMap<string, string> {
  if (files.size > 0) {
    return new Map([...files].map(([name, bytes]) => [name, new TextDecoder().decode(bytes)]));
  }
  if (typeof field === "string") return new Map([["default", field]]);
  if (field) return new Map(field.map(({ name, template }) => [name, template]));
  const processor =
    processorTemplate && parseObject("chat_template.json", processorTemplate)["chat_template"];
  return new Map(typeof processor === "string" ? [["default", processor]] : []);
}

function specialTokens(config: TokenizerConfig): Readonly<Record<string, string>> {
  const given = SPECIAL_TOKENS.flatMap((name) => {
    const token = config[name];
    const text = typeof token === "string" ? token : token?.content;
    return text === undefined ? [] : [[name, text] as const];
  });
  return Object.fromEntries(given);
}
