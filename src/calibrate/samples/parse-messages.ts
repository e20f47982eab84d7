// Messages of a conversation and the tools beside them, to what chat templates take. Fields that nobody asks for here
// (tool_calls, tool_call_id, name, reasoning_content) stay, since templates ask for them.

import { CalibrationError } from "../../errors.ts";
import { parseJson } from "../../formats/text/parse-json.ts";
import type { ChatMessage, ContentPart } from "../../model/chat/conversation.ts";

/** Who speaks, in ShareGPT's words. */
const SHAREGPT_ROLES: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  model: "assistant",
  assistant: "assistant",
  function_call: "assistant",
  system: "system",
  tool: "tool",
  observation: "tool",
  function_response: "tool",
};

type Fields = Readonly<Record<string, unknown>>;

/**
 * A list of messages with role and content, or ShareGPT's with from and value.
 * @throws CalibrationError naming the first message that is neither.
 */
export function parseMessages(where: string, list: readonly unknown[]): ChatMessage[] {
  return list.map((entry, index) => {
    const place = `${where} message ${index + 1}`;
    if (!isFields(entry)) throw new CalibrationError(`${place} is not an object with role and content.`);
    if (typeof entry["from"] === "string" && !("role" in entry)) return shareGptMessage(place, entry);
    return message(place, entry);
  });
}

function message(place: string, entry: Fields): ChatMessage {
  const { role, content, tool_calls, ...others } = withoutNulls(entry);
  if (typeof role !== "string" || role === "") {
    throw new CalibrationError(`${place} has no role. A message has role and content, or from and value.`);
  }
  if (tool_calls === undefined) {
    if (content !== undefined) return { role, content: contentOf(place, content), ...others };
    throw new CalibrationError(`${place} (${role}) has no content, and no tool_calls either.`);
  }
  const given = "content" in entry ? { content: contentOf(place, entry["content"]) } : {};
  return { role, ...given, tool_calls: listOf(`${place} tool_calls`, tool_calls), ...others };
}

/** A field that is null is one that is not there: tables give every message the fields of all others. */
function withoutNulls(entry: Fields): Fields {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== null));
}

function contentOf(place: string, content: unknown): ChatMessage["content"] {
  if (content === null || typeof content === "string") return content;
  if (!Array.isArray(content)) {
    throw new CalibrationError(`${place}: its content is neither text nor a list of parts.`);
  }
  return content.map((part: unknown) => textPart(place, part));
}

function textPart(place: string, part: unknown): ContentPart {
  if (typeof part === "string") return { type: "text", text: part };
  const { type, text } = isFields(part) ? part : {};
  if (typeof text === "string" && (type === undefined || type === null || type === "text")) {
    return { type: "text", text };
  }
  throw new CalibrationError(
    `${place} has a part of the type ${JSON.stringify(type) ?? "of nobody"}: calibration takes text alone. Leave such conversations out.`,
  );
}

function shareGptMessage(place: string, entry: Fields): ChatMessage {
  const from = String(entry["from"]);
  const { value } = entry;
  const role = Object.hasOwn(SHAREGPT_ROLES, from) ? SHAREGPT_ROLES[from] : undefined;
  if (role === undefined) {
    throw new CalibrationError(
      `${place} is from "${from.slice(0, 40)}", which is nobody that is known: human, gpt, system and tool are.`,
    );
  }
  if (typeof value !== "string") throw new CalibrationError(`${place} (${from}) has no value that is text.`);
  if (from !== "function_call") return { role, content: value };
  const call = parseJson(`${place}: the function call`, value, CalibrationError);
  const calls = (Array.isArray(call) ? call : [call]).map((one) => ({ type: "function", function: one }));
  return { role, content: null, tool_calls: calls };
}

/**
 * The tools of a row: a list of JSON schemas, or JSON text of one; null if there are none.
 * @throws CalibrationError for anything else.
 */
export function parseTools(where: string, tools: unknown): readonly object[] | null {
  if (tools === undefined || tools === null || tools === "") return null;
  const list = listOf(`${where} tools`, tools);
  return list.length === 0 ? null : list;
}

function listOf(what: string, value: unknown): readonly object[] {
  const list = typeof value === "string" ? parseJson(what, value, CalibrationError) : value;
  if (Array.isArray(list) && list.every(isFields)) return list;
  throw new CalibrationError(`${what} are not a list of objects.`);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
