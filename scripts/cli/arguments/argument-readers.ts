// Words of a command line, read into values or refused with a sentence.

import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { AccessError, inOneLine } from "../../../src/errors.ts";
import { formatBytes, parseBytes } from "../../../src/formats/text/format-bytes.ts";
import { parseSource } from "../../../src/source/parse-source.ts";
import { MIN_BUDGET_BYTES } from "../../../src/ui/state/fields/gpu-budget.ts";

/** A command line that cannot be carried out; the message says what is wrong with it. */
export class UsageError extends Error {
  override readonly name = "UsageError";

  constructor(message: string, options?: ErrorOptions) {
    super(inOneLine(message), options);
  }
}

/** Where a model is read from: an address, or a folder of this machine by its whole path. */
export interface Source {
  readonly kind: "address" | "folder";
  readonly text: string;
}

const MAX_TEXT_BYTES = 256 * 1024 ** 2;

/** Where the page of every command lies: what resolves to it was meant for this machine. */
const PAGE = "http://layerpress.localhost/";

/**
 * A folder that exists is one; everything else is an address.
 * @throws UsageError if it is neither
 */
export function readSource(text: string): Source {
  if (existsSync(text)) {
    if (!statSync(text).isDirectory())
      throw new UsageError(`SOURCE ${text} is a file. Name the folder that it lies in.`);
    return { kind: "folder", text: resolve(text) };
  }
  if (/^file:/i.test(text))
    throw new UsageError(`SOURCE ${text} is an address of this machine. Name the folder by its path alone.`);
  try {
    const address = parseSource(text, { base: PAGE, hubUrl: "https://huggingface.co" });
    if (address.kind === "hub" || !address.url.startsWith(PAGE)) return { kind: "address", text };
  } catch (error) {
    if (!(error instanceof AccessError) || isUrl(text))
      throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  throw new UsageError(
    `SOURCE ${text} is no folder of this machine, and no address: there is nothing at ${resolve(text)}. Name a folder that exists, owner/name of the Hugging Face Hub, or a URL.`,
  );
}

/**
 * Of a folder without a file, a browser tells its page nothing.
 * @throws UsageError for such a folder
 */
export function checkFiles({ kind, text }: Source): void {
  if (kind === "folder" && !holdsFile(text))
    throw new UsageError(
      `SOURCE ${text} is a folder without a file that this user may read. Name the folder that holds config.json and the .safetensors files.`,
    );
}

/** True if a file lies in the folder or below it, links followed. */
function holdsFile(folder: string, seen = new Set<string>()): boolean {
  const place = realpathSync(folder);
  if (seen.has(place)) return false;
  seen.add(place);
  const paths = orNone(() => readdirSync(folder))?.map((name) => join(folder, name)) ?? [];
  const found = paths.map((path) => ({ path, kind: orNone(() => statSync(path)) }));
  return (
    found.some(({ kind }) => kind?.isFile()) ||
    found.some(({ path, kind }) => kind?.isDirectory() && holdsFile(path, seen))
  );
}

/** Null of what this user may not look at, and of links that lead nowhere or in a circle. */
function orNone<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}

function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:/i.test(text);
}

/**
 * The folder to write to, which must have nothing to do with the one that is read: result and source have files of the same names.
 * @throws UsageError
 */
export function readOut(text: string, source: Source): string {
  const out = resolve(text);
  if (existsSync(out) && !statSync(out).isDirectory())
    throw new UsageError(`--out ${text} is a file. Name a folder; it need not exist.`);
  const how = beside(out, source);
  if (how !== null)
    throw new UsageError(
      `--out ${text} ${how}: the result would be written among the files that it is made from. Name a folder beside it.`,
    );
  return out;
}

/** How a folder lies to the source's, or null if neither is in the other. */
export function beside(
  folder: string,
  source: Source,
): "is SOURCE itself" | "lies in SOURCE" | "holds SOURCE" | null {
  if (source.kind !== "folder") return null;
  const [from, to] = [realpathSync(source.text), realPath(folder)];
  const meets = (inner: string, outer: string) => !/^\.\.([/\\]|$)/.test(relative(outer, inner));
  if (from === to) return "is SOURCE itself";
  if (meets(to, from)) return "lies in SOURCE";
  return meets(from, to) ? "holds SOURCE" : null;
}

/** Where a path leads, links followed as far as it exists. */
export function realPath(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realPath(parent), basename(path));
}

/**
 * An amount of GPU memory, or null where none is given.
 * @throws UsageError
 */
export function readBudget(text: string | undefined): number | null {
  if (text === undefined) return null;
  const bytes = parseBytes(text);
  if (bytes === null) throw new UsageError(`--gpu-budget ${text} is not an amount such as 2GiB.`);
  if (bytes < MIN_BUDGET_BYTES)
    throw new UsageError(
      `--gpu-budget ${text} is too little: ${formatBytes(MIN_BUDGET_BYTES)} is the least.`,
    );
  return bytes;
}

/**
 * Origin of the Hub that is published to: huggingface.co, or another one that HF_ENDPOINT names, as the Hub's own tools have it.
 * @param named what says so, for the sentence
 * @throws UsageError
 */
export function readHub(endpoint: string | undefined, named = "HF_ENDPOINT"): string {
  if (!endpoint) return "https://huggingface.co";
  if (/^https?:/.test(endpoint) && URL.canParse(endpoint)) return new URL(endpoint).origin;
  throw new UsageError(`${named} ${endpoint} is no address such as https://huggingface.co.`);
}

/**
 * Path of a file with text.
 * @throws UsageError if there is none, this user may not read it, or it is larger than 256 MiB.
 */
export function readPath(path: string, option: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new UsageError(`${option} ${path}: there is no such file.`);
  // What a shell puts in the place of "<(command)" is a pipe.
  if (!found.isFile())
    throw new UsageError(
      `${option} ${path} is ${found.isDirectory() ? "a folder" : "a device or a pipe"}. Name a file.`,
    );
  if (orNone(() => accessSync(path, constants.R_OK)) === null)
    throw new UsageError(`${option} ${path} cannot be read by this user. Change its permissions.`);
  const { size } = found;
  if (size > MAX_TEXT_BYTES)
    throw new UsageError(`${option} ${path} is ${size} bytes long; 256 MiB is the most.`);
  return resolve(path);
}

/** The text of a small file. @throws UsageError as `readPath` does */
export function readText(path: string, option: string): string {
  return readFileSync(readPath(path, option), "utf8");
}

/** A whole number among the values, or null. @throws UsageError */
export function wholeNumber<Option extends string>(
  values: { readonly [Name in Option]?: string | undefined },
  option: Option,
): number | null {
  const text: string | undefined = values[option];
  if (text === undefined) return null;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new UsageError(`--${option} ${text} is not a whole number.`);
  return value;
}

/** GPTQ's damping, or null. @throws UsageError */
export function fraction(text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!(value >= 0 && value <= 1)) throw new UsageError(`--dampening-frac ${text} is not between 0 and 1.`);
  return value;
}

/** One of these words, or null. @throws UsageError */
export function oneOf<Word extends string>(
  text: string | undefined,
  option: string,
  words: readonly Word[],
): Word | null {
  if (text === undefined) return null;
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) throw new UsageError(`--${option} ${text} is none of ${words.join(", ")}.`);
  return word;
}
