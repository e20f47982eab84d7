// What each family's checkpoint comes to: the forward pass beside PyTorch's, GPTQ beside rounding, memory beside the plan, and
// what transformers and LLM Compressor make of the same.

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../cli/argument-readers.ts";
import { endInWords } from "../cli/end-in-words.ts";
import type { Fixture, Found, Opened } from "./fixture.ts";
import { openResults } from "./open-results.ts";
import { measureForward } from "./measure-forward.ts";
import { type Compressed, compressAll } from "./compress-all.ts";

const USAGE = `npm run check:families -- FOLDER… [--transformers PYTHON] [--only A,B] [--out FOLDER]

Each FOLDER holds checkpoints in folders of their own: config.json, model.safetensors, and reference.safetensors with input_ids,
hidden_0 …, logits in float32. Prints a row for each: the largest difference of hidden states and of logits over their standard
deviation, GPTQ's loss over rounding's, GPU memory beside the plan; and with --transformers, whose environment has transformers,
compressed-tensors and llmcompressor, what opening the result says and whether LLM Compressor quantizes the same modules. Exits with
1 if a difference is above 1e-4, GPTQ is not below rounding, memory is above the plan, or a tensor is missing or unexpected.`;
/** Largest difference over the standard deviation. */
const AIM = 1e-4;

/** Runs `npm run check:families`; resolves to the exit status. */
export async function checkFamilies(args: readonly string[]): Promise<number> {
  return await endInWords(USAGE, async () => await check(args));
}

async function check(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      transformers: { type: "string" },
      only: { type: "string" },
      out: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const fixtures = fixturesIn(positionals, values.only?.split(",") ?? null);
  const out =
    values.out === undefined ? mkdtempSync(join(tmpdir(), "layerpress-families-")) : resolve(values.out);
  mkdirSync(out, { recursive: true });
  try {
    const errors = await measureForward(fixtures);
    const compressed = await compressAll(fixtures, out);
    const opened = values.transformers === undefined ? null : openResults(values.transformers, fixtures, out);
    return report(fixtures, { errors, compressed, opened });
  } finally {
    if (values.out === undefined) rmSync(out, { recursive: true, force: true });
  }
}

/** @throws UsageError if there are none */
function fixturesIn(folders: readonly string[], only: readonly string[] | null): readonly Fixture[] {
  const all = folders.flatMap((folder) =>
    readdirSync(folder).map((name) => ({
      name: `${basename(resolve(folder))}/${name}`,
      folder: resolve(folder, name),
    })),
  );
  const chosen = all.filter(({ name }) => only === null || only.includes(basename(name)));
  if (chosen.length === 0) throw new UsageError("No checkpoint was found: name a folder of folders.");
  return chosen;
}

interface Tables {
  readonly errors: Found<readonly number[]>;
  readonly compressed: Found<Compressed>;
  readonly opened: Found<Opened> | null;
}

function report(fixtures: readonly Fixture[], { errors, compressed, opened }: Tables): number {
  let wrong = 0;
  console.log(
    "\n| Checkpoint | Hidden states | Logits | Linears | GPTQ / RTN | Worst Linear | Peak / plan | Opens | Modules beside LLM Compressor's |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
  );
  for (const { name } of fixtures) {
    const forward = errors.get(name) ?? "not run";
    const job = compressed.get(name) ?? "not run";
    const open = opened?.get(name) ?? "not run";
    const isRight =
      isNear(forward) &&
      isLess(job) &&
      (opened === null || (typeof open !== "string" && open.complaints === 0));
    if (!isRight) wrong++;
    const cells = [name, ...forwardCells(forward), ...jobCells(job), ...openCells(open)];
    console.log(`| ${cells.join(" | ")} |${isRight ? "" : " <"}`);
  }
  console.log(
    `\n${fixtures.length - wrong} of ${fixtures.length} rows meet every aim; the others end with <.`,
  );
  return wrong === 0 ? 0 : 1;
}

function isNear(errors: readonly number[] | string): boolean {
  return typeof errors !== "string" && errors.every((error) => error <= AIM);
}

function isLess(job: Compressed | string): boolean {
  return typeof job !== "string" && job.worstRatio < 1 && job.peakBytes <= job.plannedBytes;
}

function forwardCells(errors: readonly number[] | string): string[] {
  if (typeof errors === "string") return [errors, ""];
  const logits = errors.at(-1) ?? Number.NaN;
  return [Math.max(...errors.slice(0, -1)), logits].map((error) => error.toExponential(1));
}

function jobCells(job: Compressed | string): string[] {
  if (typeof job === "string") return [job, "", "", ""];
  const { linears, ratio, worstRatio, peakBytes, plannedBytes } = job;
  return [String(linears), ratio.toFixed(3), worstRatio.toFixed(3), (peakBytes / plannedBytes).toFixed(3)];
}

function openCells(open: Opened | string): string[] {
  return typeof open === "string" ? [open, ""] : [open.detail, open.set];
}
