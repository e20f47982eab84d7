// A model's chat templates: which one is taken, what it is given, and what its refusals mean (transformers'
// `apply_chat_template`).

import { CalibrationError, MalformedModelError } from "../../errors.ts";
import { type ChatMessage, type ContentPart, type Conversation, joinParts } from "./conversation.ts";
import { type CompiledTemplate, compileTemplate, TemplateRefusal } from "./run-template.ts";

/** Real templates are a few kilobytes; they are programs from strangers. */
const MAX_TEMPLATE_LENGTH = 200_000;

export interface ChatTemplate {
  /**
   * Writes a conversation.
   * @param where what the conversation is called if it is refused
   * @throws CalibrationError with the template's word if it refuses the conversation, or cannot go on with it.
   */
  render(conversation: Conversation, addGenerationPrompt: boolean, where: string): string;
}

/**
 * Prepares a model's templates.
 * @param texts by name; "default" is the one without a name
 * @param specialTokens bos_token, eos_token, …: variables of every template
 * @throws MalformedModelError if one is not a template.
 */
export function chatTemplate(
  texts: ReadonlyMap<string, string>,
  specialTokens: Readonly<Record<string, string>>,
): ChatTemplate {
  const compiled = new Map([...texts].map(([name, text]) => [name, preparedTemplate(name, text)]));
  return {
    render({ messages, tools }, addGenerationPrompt, where) {
      const template = choose(compiled, tools !== null);
      const variables = (given: readonly ChatMessage[]) => ({
        ...specialTokens,
        messages: given,
        tools,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
      });
      try {
        return template.run(variables(template.suit(messages, specialTokens)));
      } catch (error) {
        throw refusal(where, error);
      }
    },
  };
}

interface PreparedTemplate {
  run(variables: Readonly<Record<string, unknown>>): string;
  /** Messages whose contents have the form that the template takes. */
  suit(
    messages: readonly ChatMessage[],
    specialTokens: Readonly<Record<string, string>>,
  ): readonly ChatMessage[];
}

function preparedTemplate(name: string, text: string): PreparedTemplate {
  const compiled = parseTemplate(name, text);
  let form: ContentForm | null = null;
  return {
    run: (variables) => compiled.render(variables),
    suit(messages, specialTokens) {
      form ??= contentForm(compiled, specialTokens);
      return form === "either" ? messages : messages.map((message) => inForm(message, form === "parts"));
    },
  };
}

/** "tool_use" where tools are given and a template of that name is there, else "default". */
function choose(templates: ReadonlyMap<string, PreparedTemplate>, withTools: boolean): PreparedTemplate {
  const named = withTools ? templates.get("tool_use") : undefined;
  const chosen = named ?? templates.get("default");
  if (chosen) return chosen;
  throw new CalibrationError(
    `This model has several chat templates (${[...templates.keys()].slice(0, 8).join(", ")}) and none that is the default. Use plain text, or name one of them "default".`,
  );
}

type ContentForm = "text" | "parts" | "either";

const PROBE = "layerpress-probe";

/**
 * Whether a template writes contents that are text, lists of parts, or either: found by trying, because a template that
 * takes the one form drops the other silently, or writes it as a Python list.
 */
function contentForm(
  template: CompiledTemplate,
  specialTokens: Readonly<Record<string, string>>,
): ContentForm {
  const writes = (content: string | readonly ContentPart[]) => {
    const messages: readonly ChatMessage[] = [{ role: "user", content }];
    try {
      const variables = { ...specialTokens, messages, tools: null, documents: null };
      const text = template.render({ ...variables, add_generation_prompt: false });
      return text.includes(PROBE) && !text.includes("'type'") && !text.includes('"type"');
    } catch {
      return false;
    }
  };
  const text = writes(PROBE);
  const parts = writes([{ type: "text", text: PROBE }]);
  if (text === parts) return "either";
  return text ? "text" : "parts";
}

function inForm(message: ChatMessage, wantsParts: boolean): ChatMessage {
  const { content } = message;
  if (content === null || content === undefined || (typeof content === "string") !== wantsParts)
    return message;
  return {
    ...message,
    content: typeof content === "string" ? [{ type: "text", text: content }] : joinParts(content),
  };
}

function refusal(where: string, error: unknown): CalibrationError {
  if (error instanceof CalibrationError) return error;
  const word = error instanceof Error ? error.message : String(error);
  const shown = word.length > 300 ? `${word.slice(0, 297)}…` : word;
  const said =
    error instanceof TemplateRefusal
      ? `the model's chat template refuses this conversation: “${shown}”.`
      : `the model's chat template cannot write this conversation: ${shown.replace(/\.$/, "")}.`;
  return new CalibrationError(
    `${where}: ${said} Change or leave out such conversations (roles and their order are what templates are strict about), or calibrate with plain text, or with token ids as JSON.`,
    { cause: error },
  );
}

function parseTemplate(name: string, text: string): CompiledTemplate {
  const called = name === "default" ? "The chat template" : `The chat template "${name}"`;
  if (text.length > MAX_TEMPLATE_LENGTH) {
    throw new MalformedModelError(
      `${called} has ${text.length} characters; ${MAX_TEMPLATE_LENGTH} is the most that is read.`,
    );
  }
  try {
    return compileTemplate(text);
  } catch (cause) {
    throw new MalformedModelError(`${called} cannot be parsed: ${String(cause)}`, { cause });
  }
}
