// What `npm run bench` takes, read into values or refused with a sentence.

import { parseBytes } from "../../../src/formats/text/format-bytes.ts";
import { UsageError } from "./argument-readers.ts";
import { parseWords } from "./parse-words.ts";

export const BENCH_USAGE = `npm run bench -- [options]
npm run bench -- --compare BEFORE.json AFTER.json

Measures this machine's GPU with the built page and writes the figures to a file.

  --out FILE        where they are written; default bench/results/<date>-<adapter>.json
  --only A,B        kernels whose name one of these patterns finds: product,cholesky/4096; default all, ^$ for none
  --jobs A,B        whole jobs by the same rule: 8b,GPTQ; default all, ^$ for none
  --repeats N       measurements of each kernel; default 5
  --gpu-budget SIZE GPU memory that kernels may use; default 12GiB
  --small           tiny shapes, to try the benchmark itself
  --compare         prints how many times faster the second file's figures are`;

export type BenchArguments =
  | { readonly kind: "help" }
  | { readonly kind: "compare"; readonly before: string; readonly after: string }
  | {
      readonly kind: "measure";
      readonly out: string | null;
      readonly only: readonly string[];
      readonly jobs: readonly string[];
      readonly repeats: number | null;
      readonly gpuBudgetBytes: number | null;
      readonly small: boolean;
    };

const OPTIONS = {
  out: { type: "string" },
  only: { type: "string" },
  jobs: { type: "string" },
  repeats: { type: "string" },
  "gpu-budget": { type: "string" },
  small: { type: "boolean", default: false },
  compare: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/**
 * Reads the command line.
 * @throws UsageError with a sentence about the first argument that cannot be used.
 */
export function readBenchArguments(args: readonly string[]): BenchArguments {
  const { values, positionals } = parseWords(args, OPTIONS);
  if (values.help) return { kind: "help" };
  const [before, after, ...more] = positionals;
  if (values.compare) {
    if (before === undefined || after === undefined || more.length > 0)
      throw new UsageError(`--compare takes two files, not ${positionals.length}.`);
    return { kind: "compare", before, after };
  }
  if (before !== undefined) throw new UsageError(`"${before}" is not understood; all arguments are options.`);
  return {
    kind: "measure",
    out: values.out ?? null,
    only: readPatterns("--only", values.only),
    jobs: readPatterns("--jobs", values.jobs),
    repeats: readRepeats(values.repeats),
    gpuBudgetBytes: readBudget(values["gpu-budget"]),
    small: values.small,
  };
}

/** Patterns between commas; an option that is not given finds everything. */
function readPatterns(option: string, text = "."): string[] {
  const patterns = text.split(",").filter((pattern) => pattern !== "");
  for (const pattern of patterns) {
    try {
      RegExp(pattern);
    } catch (cause) {
      throw new UsageError(`${option}: "${pattern}" is not a pattern (${String(cause)}).`, { cause });
    }
  }
  return patterns;
}

function readRepeats(text: string | undefined): number | null {
  if (text === undefined) return null;
  const repeats = Number(text);
  if (!/^\d+$/.test(text) || repeats < 1 || repeats > 1000)
    throw new UsageError(`--repeats ${text} is not a number from 1 to 1000.`);
  return repeats;
}

function readBudget(text: string | undefined): number | null {
  if (text === undefined) return null;
  const bytes = parseBytes(text);
  if (bytes === null) throw new UsageError(`--gpu-budget ${text} is not an amount such as 2GiB.`);
  return bytes;
}
