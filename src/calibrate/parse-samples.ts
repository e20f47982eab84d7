// Calibration text in the forms that people have: plain text, JSONL with "text" or "messages", or token ids as JSON for
// exact reproduction. What cannot be used is refused with its line.

import * as v from "valibot";
import { CalibrationError } from "../errors.ts";
import type { ChatMessage } from "../model/tokenizer.ts";

/** A calibration file is text of a few megabytes; a mistaken drop of a checkpoint must not be read whole. */
export const MAX_CALIBRATION_BYTES = 512 * 1024 ** 2;

export type Sample =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "messages"; readonly messages: readonly ChatMessage[] }
  | { readonly kind: "ids"; readonly ids: readonly number[] };

const ids = v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(0)));
const messages = v.array(v.object({ role: v.string(), content: v.string() }));
const rowSchema = v.union([
  v.looseObject({ messages }),
  v.looseObject({ input_ids: ids }),
  v.looseObject({ text: v.string() }),
]);
const idsFileSchema = v.union([
  v.array(ids),
  v.array(v.looseObject({ input_ids: ids })),
  v.looseObject({ input_ids: v.array(ids) }),
]);

/**
 * Parses a calibration file by its content: JSON of token ids, JSONL, else plain text.
 * @throws CalibrationError for a file that is empty or breaks its form.
 */
export function parseSamples(name: string, bytes: Uint8Array): Sample[] {
  const text = new TextDecoder().decode(bytes).trim();
  if (text === "") throw new CalibrationError(`${name} is empty: there is nothing to calibrate with.`);
  if (/^(\[|\{\s*"input_ids"\s*:\s*\[\s*\[)/.test(text)) return parseIds(name, text);
  if (text.startsWith("{")) return parseLines(name, text);
  return parsePlain(text);
}

/**
 * A row of a data set, or a line of JSONL. `column` names the field to use; without it messages, input_ids and text are
 * looked for, in that order.
 */
export function parseRow(where: string, row: unknown, column: string | null): Sample {
  const value = column === null ? row : pick(where, row, column);
  const checked = v.safeParse(rowSchema, value);
  if (!checked.success) {
    throw new CalibrationError(
      `${where} has neither "text" nor "messages" (with role and content) nor "input_ids". Name the column to use.`,
    );
  }
  const { output } = checked;
  if ("messages" in output) return { kind: "messages", messages: output.messages as ChatMessage[] };
  if ("input_ids" in output) return { kind: "ids", ids: output.input_ids as number[] };
  return { kind: "text", text: output.text };
}

function pick(where: string, row: unknown, column: string): unknown {
  const fields = new Map(typeof row === "object" && row !== null ? Object.entries(row) : []);
  const value: unknown = fields.get(column);
  if (value === undefined) {
    throw new CalibrationError(
      `${where} has no column "${column}". Its columns are ${[...fields.keys()].slice(0, 12).join(", ")}.`,
    );
  }
  if (typeof value === "string") return { text: value };
  const isIds = Array.isArray(value) && typeof value[0] === "number";
  return isIds ? { input_ids: value } : { messages: value };
}

function parseIds(name: string, text: string): Sample[] {
  const checked = v.safeParse(idsFileSchema, parseJson(name, text));
  if (!checked.success) {
    throw new CalibrationError(
      `${name} is JSON, but not token ids: a list of lists of numbers, or {"input_ids": [[…], …]}, is expected.`,
    );
  }
  const lists = Array.isArray(checked.output) ? checked.output : checked.output.input_ids;
  return lists.map((entry) => ({ kind: "ids", ids: Array.isArray(entry) ? entry : entry.input_ids }));
}

function parseLines(name: string, text: string): Sample[] {
  return text
    .split("\n")
    .map((line, index) => ({ line: line.trim(), where: `${name}, line ${index + 1},` }))
    .filter(({ line }) => line !== "")
    .map(({ line, where }) => parseRow(where, parseJson(where, line), null));
}

/** Paragraphs where blank lines part them, else lines. */
function parsePlain(text: string): Sample[] {
  const paragraphs = text.split(/\n\s*\n/);
  const parts = paragraphs.length > 1 ? paragraphs : text.split("\n");
  return parts
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => ({ kind: "text", text: part }));
}

function parseJson(where: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CalibrationError(`${where} is not valid JSON: ${String(cause)}`, { cause });
  }
}
