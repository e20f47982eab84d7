// Calibration text in the forms that people have, told apart by content: Parquet, JSON, JSONL or plain text, plain or
// gzip-compressed. What cannot be used is refused with its place.

import { CalibrationError } from "../../errors.ts";
import { standInSentence } from "../../formats/files/stand-in.ts";
import { parseJson } from "../../formats/text/parse-json.ts";
import { decodeText } from "./decode-text.ts";
import { fileKind } from "./file-kind.ts";
import { gunzip } from "./gunzip.ts";
import { parseRow } from "./parse-row.ts";
import { readParquet } from "./read-parquet.ts";
import type { Sample, SampleSet } from "./sample.ts";

/** gzip inside of gzip happens by accident; deeper is no accident. */
const MAX_LAYERS = 3;

/**
 * Parses a calibration file.
 * @param column field of its rows to use; null looks for messages, conversations, input_ids, text, and questions with answers
 * @throws CalibrationError for a file that is empty, is none of the forms, or breaks its form.
 */
export async function parseSamples(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  column: string | null = null,
): Promise<SampleSet> {
  let content = bytes;
  for (let layer = 0; layer < MAX_LAYERS && fileKind(content).kind === "gzip"; layer++) {
    content = await gunzip(name, content);
  }
  const standIn = standInSentence(name, content);
  if (standIn !== null) throw new CalibrationError(standIn);
  const kind = fileKind(content);
  if (kind.kind === "foreign") {
    throw new CalibrationError(`${name} is ${kind.name}, which is not read here. ${kind.remedy}.`);
  }
  if (kind.kind === "parquet") {
    return readRows(name, placed(name, "row", await readParquet(name, content, column)), column);
  }
  return parseText(name, decodeText(name, content).trim(), column);
}

/** What a name promises; of a compressed file, the name of what is in it. */
function promises(name: string, ending: RegExp): boolean {
  return ending.test(name.replace(/\.gz(ip)?$/i, ""));
}

function parseText(name: string, text: string, column: string | null): SampleSet {
  if (text === "") throw new CalibrationError(`${name} is empty. Choose a file that holds text.`);
  const isPromised = promises(name, /\.(json|jsonl|ndjson)$/i);
  if (isPromised || /^[[{]/.test(text)) {
    const json = tryJson(text);
    if (json !== undefined) return readRows(name, placedRows(name, json), column);
    if (isJsonLines(text, isPromised)) return readRows(name, parseLines(name, text), column);
    if (isPromised) throw notJson(name, text);
  }
  if (promises(name, /\.(csv|tsv)$/i)) {
    throw new CalibrationError(
      `${name} is a table of separated values, which is not read here: its lines would be taken for text. Save it as JSONL or Parquet.`,
    );
  }
  if (column !== null) {
    throw new CalibrationError(`${name} is plain text: it has no column "${column}". Leave the column out.`);
  }
  const notes = /^[[{]/.test(text)
    ? [`${name} begins with “${text[0]}”, but is not JSON: it is read as plain text.`]
    : [];
  return { samples: parsePlain(name, text), notes };
}

/** A row, and where it stands: "chats.jsonl, line 3,". */
interface PlacedRow {
  readonly where: string;
  readonly value: unknown;
}

/** A single object is a line: JSONL of one line is JSON too. */
function placedRows(name: string, json: unknown): PlacedRow[] {
  const rows = rowsOfJson(json);
  return placed(name, rows[0] === json ? "line" : "entry", rows);
}

function placed(name: string, unit: "line" | "entry" | "row", rows: readonly unknown[]): PlacedRow[] {
  return rows.map((value, index) => ({ where: `${name}, ${unit} ${index + 1},`, value }));
}

/** @throws CalibrationError if a row breaks its form, or all are empty. */
export function readRows(name: string, rows: readonly PlacedRow[], column: string | null): SampleSet {
  const samples = rows.flatMap(({ where, value }): Sample[] => {
    const sample = parseRow(where, value, column);
    return sample ? [sample] : [];
  });
  if (samples.length === 0) {
    throw new CalibrationError(`${name} is empty: none of its ${rows.length} samples has anything in it.`);
  }
  const empty = rows.length - samples.length;
  const notes = empty > 0 ? [`${name}: ${empty} of ${rows.length} samples are empty and left out.`] : [];
  return { samples, notes };
}

/** Wrappers that tools put around a list of rows. */
const WRAPPERS = ["data", "rows", "train", "examples"] as const;

/** A list of rows; one row, or one conversation, by itself; or an object that holds the rows or the columns. */
function rowsOfJson(json: unknown): readonly unknown[] {
  if (Array.isArray(json)) {
    const first: unknown = json[0];
    const isConversation = isObject(first) && ("role" in first || "from" in first);
    return isConversation ? [json] : json;
  }
  if (!isObject(json)) return [json];
  for (const field of ["input_ids", "text"] as const) {
    const values = json[field];
    if (Array.isArray(values) && (values.length === 0 || typeof values[0] !== "number")) return values;
  }
  const wrapped = WRAPPERS.map((field) => json[field]).find(Array.isArray);
  if (!wrapped) return [json];
  return wrapped.map((entry: unknown) => (isObject(entry) && isObject(entry["row"]) ? entry["row"] : entry));
}

function tryJson(text: string): unknown {
  try {
    return parseJson("a row", text);
  } catch {
    return undefined;
  }
}

/** The first line is an object, or the first two are lists; in a file that its name calls JSON, it may be a text in quotes. */
function isJsonLines(text: string, isPromised: boolean): boolean {
  const lines = text.split("\n", 20).filter((line) => line.trim() !== "");
  const [first, second] = lines.slice(0, 2).map(tryJson);
  if (isPromised && typeof first === "string") return true;
  return isObject(first) || (Array.isArray(first) && Array.isArray(second));
}

function parseLines(name: string, text: string): PlacedRow[] {
  return text
    .split("\n")
    .map((line, index) => ({ line: line.trim(), where: `${name}, line ${index + 1},` }))
    .filter(({ line }) => line !== "")
    .map(({ line, where }) => ({ where, value: parseJson(where, line, CalibrationError) }));
}

/** Paragraphs where blank lines part them, else lines. */
function parsePlain(name: string, text: string): Sample[] {
  const paragraphs = text.split(/\r?\n\s*\n/);
  const parts = paragraphs.length > 1 ? paragraphs : text.split("\n");
  const unit = paragraphs.length > 1 ? "paragraph" : "line";
  return parts
    .map((part, index) => ({ text: part.trim(), where: `${name}, ${unit} ${index + 1}` }))
    .filter((part) => part.text !== "")
    .map((part) => ({ kind: "text", ...part }));
}

/** What is wrong with a file that its name calls JSON: of a list on several lines the whole, else the first line. */
function notJson(name: string, text: string): CalibrationError {
  const isLines = promises(name, /\.(jsonl|ndjson)$/i);
  const [firstLine = ""] = text.split("\n", 1);
  try {
    parseJson(isLines ? `${name}, line 1,` : name, isLines ? firstLine : text, CalibrationError);
  } catch (error) {
    if (error instanceof CalibrationError) return error;
    throw error;
  }
  return new CalibrationError(`${name} is neither JSON nor one JSON object a line.`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
