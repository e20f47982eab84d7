// What `npm run compress` takes, read into values or refused with a sentence.

import type { Receipt } from "../../../src/api/receipt.ts";
import type { CalibrationRequest } from "../../../src/api/script-api.ts";
import { FORWARD_PRODUCTS } from "../../../src/formats/recipe/forward-products.ts";
import {
  beside,
  checkFiles,
  oneOf,
  readBudget,
  readOut,
  readPath,
  readSource,
  type Source,
  UsageError,
  wholeNumber,
} from "./argument-readers.ts";
import { parseWords } from "./parse-words.ts";
import { type AskedPart, PART_OPTIONS, readPart } from "./part-arguments.ts";
import { type Push, readPush } from "./read-push.ts";
import { type AskedShare, readShare, SHARE_OPTIONS } from "./share-arguments.ts";
import { type AskedRecipes, readRecipes } from "./recipe-arguments.ts";
import { BESIDE_REPLAY, readReplay, replayedPart } from "./replay-arguments.ts";

export const COMPRESS_USAGE = `npm run compress -- SOURCE --out FOLDER [options]

SOURCE is a Hub id (owner/name), a URL, or a local folder.

  --out FOLDER             where the model folder is written (required)
  --recipe RECIPE          a preset (W4A16, the default; FP8_DYNAMIC; …), gptq-PRESET, awq-PRESET,
                           smoothquant-PRESET, smoothquant-gptq-PRESET, best-W4A16, best-W3A16, a YAML file, or YAML text;
                           UNQUANTIZED writes a quantized model's weights as plain ones. Given several times, each makes a
                           result of its own in FOLDER/RECIPE: the model is read once, statistics are collected once
  --target-size SIZE       a scheme for each module, so that the weights take at most SIZE (5GB, 700MiB) and lose the least:
                           measured for the recipes that are named, or for 3, 4, 5, 6 and 8 bits by GPTQ. --target-bits B
                           says the size as bits of a weight
  --propagate RECIPE       the recipe whose error later layers see, where that is not the first one that calibrates
  --group-size N           replaces the preset's group size
  --ignore A,B             modules that stay as they are, instead of lm_head; "re:" patterns too
  --observer NAME          how ranges of weights are found: memoryless_minmax (default), memoryless_mse, imatrix_mse or
                           hessian_mse, which calibrate
  --gpu-budget SIZE        GPU memory to stay within: 2GiB, 256MiB
  --calibration FILE       plain text, or JSONL, JSON or Parquet with text, messages, conversations, instructions and
                           outputs, or token ids; gzip-compressed or not
  --dataset NAME           calibrate with a Hub data set instead; --config CONFIG and --split SPLIT say what of it
  --column COLUMN          the column of the file or data set to use, where it is none of these
  --samples N              num_calibration_samples
  --max-seq-length N       max_seq_length, in tokens
  --seed N                 seed of the shuffle
  --no-shuffle             takes the first samples, in order
  --dampening-frac F       GPTQ's damping, 0.01
  --actorder KIND          static (default), group or none
  --awq-loss KIND          hessian (default) or block, which runs each block for every scale that AWQ tries
  --no-propagate-error     later layers are calibrated on the original weights
  --routed-experts-only    experts are calibrated on the tokens that are routed to them, not on all
  --min-expert-tokens N    experts that fewer tokens are routed to are rounded to nearest, 64
  --hidden-states DTYPE    F32 (default) or BF16: how samples wait between layers
  --forward-products KIND  AUTO (default): on matrix units where there are any; F32 or F32_STRASSEN
  --replay RECEIPT         makes the result of a receipt.json again and compares the hashes; SOURCE and --calibration are
                           given only for what lay on a disk
  --layers A..B            does a part: the decoder's layers A to B, counted from 0; "rest" is what belongs to none of
                           them. npm run merge joins all parts
  --states-at A,B          quantizes nothing: writes the samples' hidden states in front of layers A and B, which ranges of
                           layers of a recipe that calibrates with --no-propagate-error can begin with
  --samples-of I/N         with --states-at, does the I-th of N shares of the samples
  --from-states FOLDER     what --states-at has written, for --layers, which else runs its samples through the layers before
                           it; of shares, all folders, each with this option
  --share I/N              does the I-th of N shares of the samples in all layers, with N - 1 other commands at the same time;
                           share 1 writes the result. GPTQ alone; any N gives the same bytes
  --exchange FOLDER        with --share: a folder that all shares see, where they find each other's files
  --patience SECONDS       with --share: how long another share may give no sign of life, 600
  --plan --parts N         writes nothing: prints N ranges of layers that end at about the same time
  --keep-source            keeps downloaded chunks until the job is done
  --token TOKEN            for gated and private models; better: the HF_TOKEN environment variable
  --push OWNER/NAME        publishes the result on the Hub, too: a private repository, made if there is none; the token
                           needs write permission
  --public                 makes the repository public
  --push-existing          commits into a repository that holds something already
  --json                   a result in JSON as the last line`;

export interface CompressArguments extends AskedPart, AskedRecipes {
  readonly source: Source;
  readonly out: string;
  readonly calibration: Omit<CalibrationRequest, "file">;
  /** Calibration text on this machine, or null. */
  readonly calibrationFile: { readonly path: string; readonly column: string | null } | null;
  readonly gpuBudgetBytes: number | null;
  readonly keepSource: boolean;
  readonly token: string | null;
  readonly json: boolean;
  /** Where the result is published, or null. */
  readonly push: Push | null;
  /** What the result is compared with, or null. */
  readonly receipt: Receipt | null;
  /** What is done of a job that several commands do together, or null. */
  readonly share: AskedShare | null;
}

/** A command line that asks for the ranges of a division, and for nothing to be written. */
export interface PlanArguments extends Omit<CompressArguments, "out" | "share" | keyof AskedPart> {
  readonly parts: number;
}

const OPTIONS = {
  out: { type: "string" },
  replay: { type: "string" },
  recipe: { type: "string", multiple: true },
  propagate: { type: "string" },
  "target-size": { type: "string" },
  "target-bits": { type: "string" },
  "group-size": { type: "string" },
  ignore: { type: "string" },
  observer: { type: "string" },
  "gpu-budget": { type: "string" },
  calibration: { type: "string" },
  dataset: { type: "string" },
  config: { type: "string" },
  split: { type: "string" },
  column: { type: "string" },
  samples: { type: "string" },
  "max-seq-length": { type: "string" },
  seed: { type: "string" },
  "no-shuffle": { type: "boolean", default: false },
  "dampening-frac": { type: "string" },
  actorder: { type: "string" },
  "awq-loss": { type: "string" },
  "no-propagate-error": { type: "boolean", default: false },
  "routed-experts-only": { type: "boolean", default: false },
  "min-expert-tokens": { type: "string" },
  "hidden-states": { type: "string" },
  "forward-products": { type: "string" },
  "keep-source": { type: "boolean", default: false },
  ...PART_OPTIONS,
  ...SHARE_OPTIONS,
  token: { type: "string" },
  push: { type: "string" },
  public: { type: "boolean", default: false },
  "push-existing": { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

function parse(args: readonly string[]) {
  return parseWords(args, OPTIONS, ["ignore"]);
}

type Values = ReturnType<typeof parse>["values"];

/**
 * Reads the command line; null if help was asked for.
 * @throws UsageError with a sentence about the first argument that cannot be used.
 */
export function readCompressArguments(args: readonly string[]): CompressArguments | PlanArguments | null {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  if (!values.plan && values.out === undefined)
    throw new UsageError("--out is missing: the folder to write the model to.");
  const { source, ...asked } =
    values.replay === undefined ? readJob(values, positionals) : replayed(values, positionals);
  checkFiles(source);
  for (const option of ["keep-source", "token"] as const)
    if (source.kind === "folder" && values[option] && !(option === "token" && values.push))
      throw new UsageError(
        `--${option} changes nothing for a folder of this machine: nothing is downloaded.`,
      );
  const job = {
    source,
    ...asked,
    keepSource: values["keep-source"],
    token: values.token ?? process.env["HF_TOKEN"] ?? null,
    push: readPush(values),
    json: values.json,
  };
  if (values.plan) return { ...job, parts: readParts(values) };
  if (values.parts !== undefined)
    throw new UsageError("--parts says how many ranges --plan prints; a part is made with --layers.");
  const part = job.receipt
    ? replayedPart(job.receipt, values)
    : { ...readPart(values), share: readShare(values) };
  if (part.share) checkExchange(part.share.folder, source);
  return { ...job, out: readOut(values.out ?? "", source), ...part };
}

/** Shares tell the same source by its files, of which those that they exchange would be some. */
function checkExchange(folder: string, source: Source): void {
  const how = beside(folder, source);
  if (how !== null && how !== "holds SOURCE")
    throw new UsageError(
      `--exchange ${folder} ${how}: what shares exchange would be taken for files of the model. Name a folder beside it.`,
    );
}

type Asked = Omit<
  CompressArguments,
  "out" | "keepSource" | "token" | "push" | "json" | "share" | keyof AskedPart
>;

function readJob(values: Values, positionals: readonly string[]): Asked {
  const [source, ...more] = positionals;
  if (source === undefined || more.length > 0)
    throw new UsageError(`One SOURCE is needed, not ${positionals.length}: an id, a URL or a folder.`);
  if (source.trim() === "") throw new UsageError("SOURCE is empty. Name an id, a URL or a folder.");
  return {
    source: readSource(source),
    ...readRecipes(values),
    calibration: readCalibration(values),
    calibrationFile: readCalibrationFile(values),
    gpuBudgetBytes: readBudget(values["gpu-budget"]),
    receipt: null,
  };
}

/** What a receipt asks for; options that it says itself cannot be given beside it. */
function replayed(values: Values, positionals: readonly string[]): Asked {
  const [source = null, ...more] = positionals;
  if (more.length > 0) throw new UsageError("One SOURCE at most can be named beside --replay.");
  const given = Object.entries(values).flatMap(([name, value]) => (value === false ? [] : [name]));
  const idle = given.find((name) => !BESIDE_REPLAY.includes(name));
  if (idle !== undefined)
    throw new UsageError(
      Object.hasOwn(PART_OPTIONS, idle) || Object.hasOwn(SHARE_OPTIONS, idle)
        ? `--${idle} cannot be given beside --replay: the receipt says which part is made.`
        : `--${idle} cannot be given beside --replay: the receipt says it.`,
    );
  const { calibration = null, replay = "" } = values;
  const job = readReplay(replay, { source, calibration, budget: values["gpu-budget"] !== undefined });
  return { ...job, gpuBudgetBytes: readBudget(values["gpu-budget"]) ?? job.gpuBudgetBytes };
}

/** How many ranges are to be printed, where nothing else is done. */
function readParts(values: Values): number {
  for (const option of [
    "out",
    "layers",
    "states-at",
    "samples-of",
    "share",
    "exchange",
    "patience",
    "keep-source",
  ] as const)
    if (values[option])
      throw new UsageError(`--${option} changes nothing beside --plan: nothing is written.`);
  if (values["from-states"])
    throw new UsageError("--from-states changes nothing beside --plan: nothing is written.");
  const parts = wholeNumber(values, "parts");
  if (parts === null || parts < 1)
    throw new UsageError("--plan prints how a job is divided: --parts N says into how many ranges.");
  return parts;
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
  for (const option of ["config", "split"] as const)
    if (values[option] !== undefined && dataset === undefined)
      throw new UsageError(`--${option} says which part of a data set is taken: it needs --dataset.`);
  return {
    dataset:
      dataset === undefined
        ? null
        : {
            name: dataset,
            config: values.config ?? null,
            split: values.split ?? "train",
            column: values.column ?? null,
          },
    samples: wholeNumber(values, "samples"),
    maxSeqLength: wholeNumber(values, "max-seq-length"),
    seed: wholeNumber(values, "seed"),
    shuffle: !values["no-shuffle"],
    propagateError: !values["no-propagate-error"],
    allExperts: !values["routed-experts-only"],
    minExpertTokens: wholeNumber(values, "min-expert-tokens"),
    hiddenStates: oneOf(values["hidden-states"]?.toUpperCase(), "hidden-states", ["F32", "BF16"]) ?? "F32",
    forwardProducts:
      oneOf(values["forward-products"]?.toUpperCase(), "forward-products", FORWARD_PRODUCTS) ?? "AUTO",
  };
}
