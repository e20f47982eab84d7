// What `npm run evaluate` takes, read into values or refused with a sentence.

import { readBudget, readPath, readSource, type Source, UsageError } from "./argument-readers.ts";
import { parseWords } from "./parse-words.ts";

export const EVALUATE_USAGE = `npm run evaluate -- FOLDER_OR_URL [options]

Measures the perplexity of a model, quantized by compressed-tensors or not, one layer at a time.

  --against SOURCE         the original: a Hub id, a URL or a local folder; adds KL divergence and greedy agreement
  --text FILE              plain text, JSONL, JSON or Parquet; otherwise the folder's evaluation.txt, or a text of this program
  --ids FILE               token ids as JSON instead: [[1, 2, …], …]
  --max-seq-length N       longest window, in tokens (512)
  --windows N              only the first N windows
  --provider NAME          auto (default), webgpu or wasm
  --gpu-budget SIZE        GPU memory for weights: 4GiB (default)
  --prompt TEXT            also lets the model go on from TEXT, greedily; --tokens N of it (80)
  --chat                   TEXT is a user's message, put through the model's chat template
  --token TOKEN            for gated and private models; better: the HF_TOKEN environment variable
  --json                   the report in JSON as the last line`;

export type EvaluatedSource = Source;

export interface EvaluateArguments {
  readonly model: EvaluatedSource;
  readonly against: EvaluatedSource | null;
  /** Path of the text, or of token ids. */
  readonly text: string | null;
  readonly maxSeqLength: number;
  readonly windows: number | null;
  readonly provider: "auto" | "webgpu" | "wasm";
  /** Null if it was not asked for. */
  readonly gpuBudgetBytes: number | null;
  readonly prompt: string | null;
  readonly tokens: number;
  readonly chat: boolean;
  readonly token: string | null;
  readonly json: boolean;
}

const OPTIONS = {
  against: { type: "string" },
  text: { type: "string" },
  ids: { type: "string" },
  "max-seq-length": { type: "string", default: "512" },
  windows: { type: "string" },
  provider: { type: "string", default: "auto" },
  "gpu-budget": { type: "string" },
  prompt: { type: "string" },
  tokens: { type: "string" },
  chat: { type: "boolean", default: false },
  token: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

function parse(args: readonly string[]) {
  return parseWords(args, OPTIONS, ["prompt"]);
}

type Values = ReturnType<typeof parse>["values"];

/**
 * Reads the command line; null if help was asked for.
 * @throws UsageError with a sentence about the first argument that cannot be used.
 */
export function readEvaluateArguments(args: readonly string[]): EvaluateArguments | null {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  const [model, ...more] = positionals;
  if (!model || more.length > 0) {
    throw new UsageError(`One FOLDER_OR_URL is needed, not ${positionals.length}.`);
  }
  if (values.text !== undefined && values.ids !== undefined) {
    throw new UsageError("--text and --ids exclude each other.");
  }
  const provider = (["auto", "webgpu", "wasm"] as const).find((name) => name === values.provider);
  if (!provider) throw new UsageError(`--provider ${values.provider} is none of auto, webgpu, wasm.`);
  const sources = { model: readSource(model), against: readAgainst(values) };
  checkIdle(values, [sources.model, sources.against]);
  return {
    ...sources,
    text: readEvaluationText(values),
    maxSeqLength: windowLength(values["max-seq-length"]),
    windows: values.windows === undefined ? null : count("windows", values.windows),
    provider,
    gpuBudgetBytes: readBudget(values["gpu-budget"]),
    prompt: values.prompt ?? null,
    tokens: count("tokens", values.tokens ?? "80"),
    chat: values.chat,
    token: values.token ?? process.env["HF_TOKEN"] ?? null,
    json: values.json,
  };
}

function readAgainst({ against }: Values): Source | null {
  return against === undefined ? null : readSource(against);
}

/** @throws UsageError for an option that nothing would be done for */
function checkIdle(values: Values, sources: readonly (Source | null)[]): void {
  for (const option of ["tokens", "chat"] as const)
    if (values[option] && values.prompt === undefined)
      throw new UsageError(`--${option} is about what is generated: it needs --prompt.`);
  if (values.token !== undefined && sources.every((source) => source === null || source.kind === "folder"))
    throw new UsageError("--token changes nothing for folders of this machine: nothing is downloaded.");
  if (values["gpu-budget"] !== undefined && values.provider === "wasm")
    throw new UsageError(
      "--gpu-budget changes nothing with --provider wasm, which computes on the processor. Leave one of them out.",
    );
}

function readEvaluationText({ text, ids }: Values): EvaluateArguments["text"] {
  const path = text ?? ids;
  if (path === undefined) return null;
  return readPath(path, text === undefined ? "--ids" : "--text");
}

/** The first token of each window is not predicted. */
function windowLength(text: string): number {
  const length = count("max-seq-length", text);
  if (length > 1) return length;
  throw new UsageError("--max-seq-length 1 leaves nothing to predict. Two tokens are the least.");
}

function count(option: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError(`--${option} ${text} is not a whole number above 0.`);
}
