// What `npm run compress` takes, read into values or refused with a sentence.

import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { AccessError } from "../../src/errors.ts";
import { WEIGHT_OBSERVERS } from "../../src/formats/quantization-args.ts";
import { formatBytes, parseBytes } from "../../src/formats/format-bytes.ts";
import { parseSource } from "../../src/source/parse-source.ts";
import { MIN_BUDGET_BYTES } from "../../src/ui/state/gpu-budget.ts";
import type { CalibrationRequest, RecipeRequest } from "../../src/api/script-api.ts";

export const COMPRESS_USAGE = `npm run compress -- SOURCE --out FOLDER [options]

SOURCE is a Hub id (owner/name), a URL, or a local folder.

  --out FOLDER             where the model folder is written (required)
  --recipe RECIPE          a preset (W4A16, the default; FP8_DYNAMIC; …), gptq-PRESET, smoothquant-PRESET,
                           smoothquant-gptq-PRESET, a YAML file, or YAML text;
                           UNQUANTIZED writes a quantized model's weights as plain ones
  --group-size N           replaces the preset's group size
  --ignore A,B             modules that stay as they are, instead of lm_head; "re:" patterns too
  --observer NAME          how ranges of weights are found: memoryless_minmax (default), memoryless_mse, or imatrix_mse,
                           which calibrates
  --gpu-budget SIZE        GPU memory to stay within: 2GiB, 256MiB
  --calibration FILE       plain text, or JSONL, JSON or Parquet with text, messages, conversations, instructions and
                           outputs, or token ids; gzip-compressed or not
  --dataset NAME           calibrate with a Hub data set instead; --split SPLIT
  --column COLUMN          the column of the file or data set to use, where it is none of these
  --samples N              num_calibration_samples
  --max-seq-length N       max_seq_length, in tokens
  --seed N                 seed of the shuffle
  --no-shuffle             takes the first samples, in order
  --dampening-frac F       GPTQ's damping, 0.01
  --actorder KIND          static (default), group or none
  --no-propagate-error     later layers are calibrated on the original weights
  --routed-experts-only    experts are calibrated on the tokens that are routed to them, not on all
  --min-expert-tokens N    experts that fewer tokens are routed to are rounded to nearest, 64
  --hidden-states DTYPE    F32 (default) or BF16: how samples wait between layers
  --forward-products KIND  AUTO (default): on matrix units where there are any; or F32
  --keep-source            keeps downloaded chunks until the job is done
  --token TOKEN            for gated and private models; better: the HF_TOKEN environment variable
  --json                   a result in JSON as the last line`;

/** A command line that cannot be carried out; the message says what is wrong with it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface CompressArguments {
  readonly source: { readonly kind: "address" | "folder"; readonly text: string };
  readonly out: string;
  readonly recipe: RecipeRequest;
  readonly calibration: Omit<CalibrationRequest, "file">;
  /** Calibration text on this machine, or null. */
  readonly calibrationFile: { readonly path: string; readonly column: string | null } | null;
  readonly gpuBudgetBytes: number | null;
  readonly keepSource: boolean;
  readonly token: string | null;
  readonly json: boolean;
}

const MAX_TEXT_BYTES = 256 * 1024 ** 2;

const OPTIONS = {
  out: { type: "string" },
  recipe: { type: "string", default: "W4A16" },
  "group-size": { type: "string" },
  ignore: { type: "string" },
  observer: { type: "string" },
  "gpu-budget": { type: "string" },
  calibration: { type: "string" },
  dataset: { type: "string" },
  split: { type: "string" },
  column: { type: "string" },
  samples: { type: "string" },
  "max-seq-length": { type: "string" },
  seed: { type: "string" },
  "no-shuffle": { type: "boolean", default: false },
  "dampening-frac": { type: "string" },
  actorder: { type: "string" },
  "no-propagate-error": { type: "boolean", default: false },
  "routed-experts-only": { type: "boolean", default: false },
  "min-expert-tokens": { type: "string" },
  "hidden-states": { type: "string", default: "F32" },
  "forward-products": { type: "string", default: "AUTO" },
  "keep-source": { type: "boolean", default: false },
  token: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

type Values = ReturnType<typeof parse>["values"];

/**
 * Reads the command line; null if help was asked for.
 * @throws UsageError with a sentence about the first argument that cannot be used.
 */
export function readCompressArguments(args: readonly string[]): CompressArguments | null {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  const [source, ...more] = positionals;
  if (!source || more.length > 0)
    throw new UsageError(`One SOURCE is needed, not ${positionals.length}: an id, a URL or a folder.`);
  if (!values.out) throw new UsageError("--out is missing: the folder to write the model to.");
  const from = readSource(source);
  for (const option of ["keep-source", "token"] as const)
    if (from.kind === "folder" && values[option])
      throw new UsageError(
        `--${option} changes nothing for a folder of this machine: nothing is downloaded.`,
      );
  return {
    source: from,
    out: readOut(values.out, from),
    recipe: readRecipe(values),
    calibration: readCalibration(values),
    calibrationFile: readCalibrationFile(values),
    gpuBudgetBytes: readBudget(values["gpu-budget"]),
    keepSource: values["keep-source"],
    token: values.token ?? process.env["HF_TOKEN"] ?? null,
    json: values.json,
  };
}

/** Where the page of every command lies: what resolves to it was meant for this machine. */
const PAGE = "http://layerpress.localhost/";

/**
 * A folder that exists is one; everything else is an address.
 * @throws UsageError if it is neither
 */
export function readSource(text: string): CompressArguments["source"] {
  if (existsSync(text)) {
    if (statSync(text).isDirectory()) return { kind: "folder", text: resolve(text) };
    throw new UsageError(`SOURCE ${text} is a file. Name the folder that it lies in.`);
  }
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

function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:/i.test(text);
}

/**
 * The folder to write to, which must have nothing to do with the one that is read: result and source have files of the same names.
 * @throws UsageError
 */
function readOut(text: string, source: CompressArguments["source"]): string {
  const out = resolve(text);
  if (existsSync(out) && !statSync(out).isDirectory())
    throw new UsageError(`--out ${text} is a file. Name a folder; it need not exist.`);
  if (source.kind !== "folder") return out;
  const [from, to] = [realpathSync(source.text), realPath(out)];
  const meets = (inner: string, outer: string) => !/^\.\.([/\\]|$)/.test(relative(outer, inner));
  const how = from === to ? "is SOURCE itself" : meets(to, from) ? "lies in SOURCE" : "holds SOURCE";
  if (meets(to, from) || meets(from, to))
    throw new UsageError(
      `--out ${text} ${how}: the result would be written among the files that it is made from. Name a folder beside it.`,
    );
  return out;
}

/** Where a path leads, links followed as far as it exists. */
function realPath(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realPath(parent), basename(path));
}

function readBudget(text: string | undefined): number | null {
  if (text === undefined) return null;
  const bytes = parseBytes(text);
  if (bytes === null) throw new UsageError(`--gpu-budget ${text} is not an amount such as 2GiB.`);
  if (bytes < MIN_BUDGET_BYTES)
    throw new UsageError(
      `--gpu-budget ${text} is too little: ${formatBytes(MIN_BUDGET_BYTES)} is the least.`,
    );
  return bytes;
}

function readRecipe(values: Values): RecipeRequest {
  const isFile = /\.ya?ml$/i.test(values.recipe);
  return {
    text: isFile ? readText(values.recipe, "--recipe") : values.recipe,
    groupSize: wholeNumber(values, "group-size"),
    ignore: values.ignore?.split(",").filter((name) => name !== "") ?? null,
    observer: oneOf(values.observer, "observer", WEIGHT_OBSERVERS),
    dampeningFrac: fraction(values["dampening-frac"]),
    actorder: oneOf(values.actorder, "actorder", ["static", "group", "none"]),
  };
}

function readCalibrationFile({ calibration, column }: Values): CompressArguments["calibrationFile"] {
  if (calibration === undefined) return null;
  return { path: readPath(calibration, "--calibration"), column: column ?? null };
}

function readCalibration(values: Values): CompressArguments["calibration"] {
  const { calibration, dataset } = values;
  if (calibration !== undefined && dataset !== undefined)
    throw new UsageError("--calibration and --dataset exclude each other.");
  if (values.column !== undefined && calibration === undefined && dataset === undefined)
    throw new UsageError("--column names a column of --calibration or --dataset, and neither is given.");
  if (values.split !== undefined && dataset === undefined)
    throw new UsageError("--split says which part of a data set is taken: it needs --dataset.");
  return {
    dataset:
      dataset === undefined
        ? null
        : { name: dataset, split: values.split ?? "train", column: values.column ?? null },
    samples: wholeNumber(values, "samples"),
    maxSeqLength: wholeNumber(values, "max-seq-length"),
    seed: wholeNumber(values, "seed"),
    shuffle: !values["no-shuffle"],
    propagateError: !values["no-propagate-error"],
    allExperts: !values["routed-experts-only"],
    minExpertTokens: wholeNumber(values, "min-expert-tokens"),
    hiddenStates: oneOf(values["hidden-states"].toUpperCase(), "hidden-states", ["F32", "BF16"]) ?? "F32",
    forwardProducts:
      oneOf(values["forward-products"].toUpperCase(), "forward-products", ["AUTO", "F32"]) ?? "AUTO",
  };
}

/**
 * Path of a file with text.
 * @throws UsageError if there is none, or it is larger than 256 MiB.
 */
export function readPath(path: string, option: string): string {
  if (!existsSync(path) || !statSync(path).isFile())
    throw new UsageError(`${option} ${path}: there is no such file.`);
  const { size } = statSync(path);
  if (size > MAX_TEXT_BYTES)
    throw new UsageError(`${option} ${path} is ${size} bytes long; 256 MiB is the most.`);
  return resolve(path);
}

function readText(path: string, option: string): string {
  return readFileSync(readPath(path, option), "utf8");
}

function wholeNumber(
  values: Values,
  option: "group-size" | "samples" | "max-seq-length" | "seed" | "min-expert-tokens",
): number | null {
  const text = values[option];
  if (text === undefined) return null;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new UsageError(`--${option} ${text} is not a whole number.`);
  return value;
}

function fraction(text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!(value >= 0 && value <= 1)) throw new UsageError(`--dampening-frac ${text} is not between 0 and 1.`);
  return value;
}

function oneOf<Word extends string>(
  text: string | undefined,
  option: string,
  words: readonly Word[],
): Word | null {
  if (text === undefined) return null;
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) throw new UsageError(`--${option} ${text} is none of ${words.join(", ")}.`);
  return word;
}
