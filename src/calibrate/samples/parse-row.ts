// A row of a data set, or of a file, in the shapes that people have: text, token ids, conversations as OpenAI and
// transformers write them, ShareGPT's, Alpaca's, and pairs of prompt and answer.

import * as v from "valibot";
import { CalibrationError } from "../../errors.ts";
import type { ChatMessage } from "../../model/chat/conversation.ts";
import { parseMessages, parseTools } from "./parse-messages.ts";
import type { Sample, SampleContent } from "./sample.ts";

/** Questions and their answers, the usual names first. */
const PAIRS = [
  ["instruction", "output"],
  ["instruction", "response"],
  ["prompt", "completion"],
  ["prompt", "response"],
  ["question", "answer"],
  ["question", "response"],
] as const;

/** Fields that samples are made of where no column is named. */
export const ROW_FIELDS: readonly string[] = [
  "messages",
  "conversations",
  "conversation",
  "input_ids",
  "text",
  "tools",
  "system",
  "system_prompt",
  "input",
  "history",
  ...new Set(PAIRS.flat()),
];

const idsSchema = v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(0)));

type Row = Readonly<Record<string, unknown>>;

/**
 * A row as a sample; null if it is empty.
 * @param column the field to use; null looks for the usual ones
 * @throws CalibrationError naming the row and what it lacks.
 */
export function parseRow(where: string, row: unknown, column: string | null): Sample | null {
  const content = column === null ? contentOf(where, row) : contentOfColumn(where, row, column);
  return content && { ...content, where: where.replace(/,$/, "") };
}

function contentOf(where: string, row: unknown): SampleContent | null {
  if (!isRow(row)) return contentOfValue(where, row, null);
  for (const field of ["messages", "conversations", "conversation"]) {
    const value = row[field];
    // An empty one stands beside what the row is made of, where rows of several kinds share a table.
    if (Array.isArray(value) && value.length > 0) return conversation(where, value, row);
    if (value !== undefined && value !== null && value !== "" && !Array.isArray(value)) {
      throw new CalibrationError(
        `${where}: its ${field} are not a list of messages. Name the column to use.`,
      );
    }
  }
  if (Array.isArray(row["input_ids"]) && row["input_ids"].length > 0)
    return contentOfValue(where, row["input_ids"], row);
  if (typeof row["text"] === "string") return contentOfValue(where, row["text"], row);
  const pair = PAIRS.find(([question, answer]) => isPair(row[question], row[answer]));
  if (pair) return pairContent(where, row, pair);
  if (ROW_FIELDS.some((field) => field in row && isEmpty(row[field]))) return null;
  throw new CalibrationError(
    `${where} has neither "text" nor "messages" (with role and content) nor "input_ids", "conversations", or an instruction with its output. Its columns are ${shownColumns(row)}. Name the column to use.`,
  );
}

function contentOfColumn(where: string, row: unknown, column: string): SampleContent | null {
  const fields = isRow(row) ? row : {};
  if (!Object.hasOwn(fields, column)) {
    throw new CalibrationError(
      `${where} has no column "${column}". Its columns are ${shownColumns(fields)}.`,
    );
  }
  return contentOfValue(where, fields[column], isRow(row) ? row : null);
}

/** A text, a list of ids, or a list of messages. */
function contentOfValue(where: string, value: unknown, row: Row | null): SampleContent | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value.trim() === "" ? null : { kind: "text", text: value };
  if (!Array.isArray(value)) {
    throw new CalibrationError(`${where} holds neither text, nor a list of token ids, nor one of messages.`);
  }
  const first: unknown = value[0];
  if (value.length === 0) return null;
  if (isRow(first)) return conversation(where, value, row);
  const ids = v.safeParse(idsSchema, value);
  if (ids.success) return { kind: "ids", ids: ids.output };
  throw new CalibrationError(
    `${where} holds a list that is not token ids: whole numbers from 0 on are expected, or messages with role and content.`,
  );
}

function conversation(where: string, value: readonly unknown[], row: Row | null): SampleContent | null {
  if (value.length === 0) return null;
  const tools = parseTools(where, row?.["tools"]);
  const messages = parseMessages(where, value);
  return { kind: "messages", messages: withSystem(messages, row), tools };
}

function withSystem(messages: readonly ChatMessage[], row: Row | null): readonly ChatMessage[] {
  const system = [row?.["system"], row?.["system_prompt"]].find(isText);
  return system !== undefined && messages[0]?.role !== "system"
    ? [{ role: "system", content: system }, ...messages]
    : messages;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "";
}

function isEmpty(value: unknown): boolean {
  return value === null || value === "" || (Array.isArray(value) && value.length === 0);
}

/** Both are texts, or lists of messages; the answer may be missing where the question is an instruction. */
function isPair(question: unknown, answer: unknown): boolean {
  const isGiven = (value: unknown) => isText(value) || Array.isArray(value);
  return isGiven(question) && isGiven(answer);
}

function pairContent(where: string, row: Row, [question, answer]: (typeof PAIRS)[number]): SampleContent {
  const asked = partOf(where, row[question], "user");
  const input = row["input"];
  const [only] = asked;
  const hasInput = question === "instruction" && isText(input);
  const complete =
    hasInput && only && typeof only.content === "string"
      ? [{ ...only, content: `${only.content}\n\n${input}` }]
      : asked;
  const messages = [...historyOf(row["history"]), ...complete, ...partOf(where, row[answer], "assistant")];
  return {
    kind: "messages",
    messages: withSystem(messages, row),
    tools: parseTools(where, row["tools"]),
  };
}

function partOf(where: string, value: unknown, role: string): ChatMessage[] {
  return Array.isArray(value) ? parseMessages(where, value) : [{ role, content: String(value) }];
}

/** Earlier turns of an Alpaca row: pairs of texts. */
function historyOf(history: unknown): ChatMessage[] {
  if (!Array.isArray(history)) return [];
  return history.flatMap((turn: unknown) =>
    Array.isArray(turn) && turn.every((text) => typeof text === "string")
      ? turn.slice(0, 2).map((content, index) => ({ role: index === 0 ? "user" : "assistant", content }))
      : [],
  );
}

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shownColumns(row: Row): string {
  return Object.keys(row).slice(0, 12).join(", ") || "none";
}
