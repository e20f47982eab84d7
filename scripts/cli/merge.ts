// Joins what `npm run compress -- … --layers` wrote: tensors are copied from the parts' shards into the shards that the
// undivided job would have written. What it prints last, and its exit status, are a contract with those who script it.

import { resolve } from "node:path";
import { formatBytes } from "../../src/formats/text/format-bytes.ts";
import { realPath, UsageError } from "./arguments/argument-readers.ts";
import { parseWords } from "./arguments/parse-words.ts";
import { checkPlaces, strangersNote } from "./check-places.ts";
import { mergeParts } from "./merge/merge-parts.ts";
import { systemFailure } from "./system-failure.ts";

const MERGE_USAGE = `npm run merge -- PART… --out FOLDER [--json]

PART is a folder that npm run compress -- SOURCE --out PART --layers A..B (or rest) wrote. All parts of one job are needed.

  --out FOLDER             where the model folder is written (required)
  --json                   a result in JSON as the last line`;

const USAGE_STATUS = 2;
const FAILURE_STATUS = 1;

/** Runs `npm run merge`; resolves to the exit status: 0, 1 (it failed), 2 (the command line is wrong). */
export async function mergeFromCommandLine(args: readonly string[]): Promise<number> {
  try {
    const parsed = readArguments(args);
    if (!parsed) {
      console.log(MERGE_USAGE);
      return 0;
    }
    await checkPlaces(parsed.out);
    const files = await mergeParts(parsed.parts, parsed.out);
    const resultBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
    console.log(`Wrote ${files.length} files (${formatBytes(resultBytes)}) to ${parsed.out}.`);
    const paths = files.map(({ path }) => path);
    for (const note of await strangersNote(parsed.out, paths)) console.log(`Note: ${note}`);
    if (parsed.json) console.log(JSON.stringify({ ok: true, files, resultBytes }));
    return 0;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const { name, message } = systemFailure(error);
    console.error(isUsage ? `${message}\n\n${MERGE_USAGE}` : message);
    if (args.includes("--json")) console.log(JSON.stringify({ ok: false, error: { name, message } }));
    return isUsage ? USAGE_STATUS : FAILURE_STATUS;
  }
}

interface MergeArguments {
  readonly parts: readonly string[];
  readonly out: string;
  readonly json: boolean;
}

const OPTIONS = {
  out: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** @throws UsageError with a sentence about the first argument that cannot be used */
function readArguments(args: readonly string[]): MergeArguments | null {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  if (positionals.length === 0) throw new UsageError("No PART is given: name the folders of all parts.");
  if (values.out === undefined) throw new UsageError("--out is missing: the folder to write the model to.");
  const out = realPath(resolve(values.out));
  const parts = positionals.map((part) => realPath(resolve(part)));
  const twice = parts.find((part, index) => parts.indexOf(part) !== index);
  if (twice !== undefined) throw new UsageError(`${twice} is named twice.`);
  if (parts.includes(out))
    throw new UsageError(`--out ${values.out} is one of the parts. Name a folder beside them.`);
  return { parts, out, json: values.json };
}

function parse(args: readonly string[]) {
  return parseWords(args, OPTIONS);
}
