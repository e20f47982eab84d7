// What each family's checkpoint comes to: the forward pass beside PyTorch's, GPTQ beside rounding, memory beside the plan, and
// what transformers and LLM Compressor make of the same.

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { UsageError } from "../cli/arguments/argument-readers.ts";
import { parseWords } from "../cli/arguments/parse-words.ts";
import { endInWords } from "../cli/end-in-words.ts";
import type { Fixture, Found, Opened } from "./fixture.ts";
import { openResults } from "./open-results.ts";
import { measureForward } from "./measure-forward.ts";
import { type Compressed, compressAll } from "./compress-all.ts";
import { resume } from "./resume.ts";

const USAGE = `npm run check:families -- FOLDER… [--transformers PYTHON] [--only A,B] [--out FOLDER]

Each FOLDER holds checkpoints in folders of their own: config.json, model.safetensors, and reference.safetensors with input_ids,
hidden_0 …, logits in float32. Prints a row for each: the largest difference of hidden states and of logits over their standard
deviation, GPTQ's loss over rounding's, GPU memory beside the plan; and with --transformers, whose environment has transformers,
compressed-tensors and llmcompressor, what opening the result says and whether LLM Compressor quantizes the same modules, by a recipe
of all Linears and by the result's own recipe.yaml. FOLDER of --out keeps results and findings: a second run measures what is not there
yet. Ends with how many reach each aim, and the rest by name; exits with 1 if there is a rest: a difference above 1e-4, GPTQ not below
rounding, memory above the plan, a tensor missing or unexpected, other modules than LLM Compressor's by the same recipe.yaml.`;
/** Largest difference over the standard deviation. */
const AIM = 1e-4;

/** Runs `npm run check:families`; resolves to the exit status. */
export async function checkFamilies(args: readonly string[]): Promise<number> {
  return await endInWords(USAGE, async () => await check(args));
}

async function check(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(args, {
    transformers: { type: "string" },
    only: { type: "string" },
    out: { type: "string" },
    help: { type: "boolean", default: false },
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
    return report(fixtures, await measure(fixtures, out, values.transformers ?? null));
  } finally {
    if (values.out === undefined) rmSync(out, { recursive: true, force: true });
  }
}

/** Measures what files of `out` do not hold of an earlier run. */
async function measure(fixtures: readonly Fixture[], out: string, python: string | null): Promise<Tables> {
  const errors = await resume(join(out, "forward.jsonl"), fixtures, measureForward);
  const compressed = await resume<Compressed>(join(out, "compressed.jsonl"), fixtures, (rest, tell) =>
    compressAll(rest, out, tell),
  );
  if (python === null) return { errors, compressed, opened: null };
  const opened = await resume<Opened>(join(out, "opened.jsonl"), fixtures, (rest, tell) =>
    openResults(python, rest, out, tell),
  );
  return { errors, compressed, opened };
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

interface Row {
  readonly name: string;
  readonly forward: readonly number[] | string;
  readonly job: Compressed | string;
  readonly open: Opened | string;
}

interface Tables {
  readonly errors: Found<readonly number[]>;
  readonly compressed: Found<Compressed>;
  readonly opened: Found<Opened> | null;
}

/** What is aimed at, with what of a row tells whether it is reached. */
const AIMS: readonly (readonly [string, (row: Row) => boolean])[] = [
  ["differences of at most 1e-4", ({ forward }) => isNear(forward)],
  ["GPTQ below rounding in every Linear", ({ job }) => typeof job !== "string" && job.worstRatio < 1],
  ["memory within the plan", ({ job }) => typeof job !== "string" && job.peakBytes <= job.plannedBytes],
  ["no tensor missing or unexpected", ({ open }) => typeof open !== "string" && open.complaints === 0],
  [
    "the same modules as LLM Compressor by the result's recipe",
    ({ open }) => typeof open !== "string" && open.replayed === "equal",
  ],
];

function report(fixtures: readonly Fixture[], { errors, compressed, opened }: Tables): number {
  const rows = fixtures.map(({ name }): Row => {
    const [forward, job] = [errors.get(name) ?? "not run", compressed.get(name) ?? "not run"];
    return { name, forward, job, open: opened?.get(name) ?? "not run" };
  });
  console.log(
    "\n| Checkpoint | Hidden states | Logits | Linears | GPTQ / RTN | Worst Linear | Peak / plan | Opens | Modules by all Linears | By its recipe |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
  );
  for (const { name, forward, job, open } of rows) {
    const cells = [name, ...forwardCells(forward), ...jobCells(job), ...openCells(open)];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log("");
  const aims = opened === null ? AIMS.slice(0, 3) : AIMS;
  const missed = aims.map(([aim, isReached]) => {
    const names = rows.filter((row) => !isReached(row)).map(({ name }) => name);
    const rest = names.length === 0 ? "" : `; not ${names.join(", ")}`;
    console.log(`${rows.length - names.length} of ${rows.length}: ${aim}${rest}`);
    return names.length;
  });
  return missed.every((count) => count === 0) ? 0 : 1;
}

function isNear(errors: readonly number[] | string): boolean {
  return typeof errors !== "string" && errors.every((error) => error <= AIM);
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
  return typeof open === "string" ? [open, "", ""] : [open.detail, open.set, open.replayed];
}
