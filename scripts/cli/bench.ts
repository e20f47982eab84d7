// Opens the built benchmark page in a Chromium with the machine's GPU, serves it models made up byte by byte, and keeps
// what it measures.

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type BrowserContext, chromium } from "playwright";
import { preview } from "vite";
import { syntheticJobs, type SyntheticJob } from "../../bench/end-to-end/jobs.ts";
import type { BenchmarkOptions } from "../../bench/options.ts";
import { compareResults, formatComparison } from "../../bench/report/compare-results.ts";
import { formatResult } from "../../bench/report/format-result.ts";
import { parseResult } from "../../bench/report/parse-result.ts";
import type { BenchmarkResult, EndToEndRow } from "../../bench/report/result.ts";
import { startModelServer } from "../model-server/model-server.ts";
import { syntheticModel } from "../model-server/synthetic-model.ts";
import { chromiumFlags, findChromium } from "../chromium.mjs";
import { BENCH_USAGE, type BenchArguments, readBenchArguments } from "./arguments/bench-arguments.ts";
import { letTell, answerOf } from "./page/told.ts";
import { systemFailure } from "./system-failure.ts";
import { endInWords } from "./end-in-words.ts";
import { watchHostMemory } from "./host-memory.ts";
import { endedBy } from "../../src/ended-by.ts";

const ROOT = join(import.meta.dirname, "../..");
const RESULTS = join(ROOT, "bench/results");
/** A job is asked for alone, so that host memory is its own; the ceilings are measured again, once. */
const NO_KERNELS = { only: ["^$"], repeats: 1 } as const;
const FAILURE_STATUS = 1;

type MeasureArguments = Extract<BenchArguments, { kind: "measure" }>;

/** Runs `npm run bench`; resolves to the exit status. `prepare` sees to page and browser, which a comparison does not need. */
export async function benchFromCommandLine(
  args: readonly string[],
  prepare: () => Promise<void>,
): Promise<number> {
  return await endInWords(BENCH_USAGE, async () => await bench(readBenchArguments(args), prepare));
}

async function bench(args: BenchArguments, prepare: () => Promise<void>): Promise<number> {
  if (args.kind === "help") {
    console.log(BENCH_USAGE);
    return 0;
  }
  try {
    if (args.kind === "compare") {
      const [before, after] = await Promise.all([readResult(args.before), readResult(args.after)]);
      console.log(formatComparison(compareResults(before, after)));
      return 0;
    }
    await prepare();
    const result = await measureInPage(args);
    const out = resolve(args.out ?? defaultPath(result));
    await mkdir(dirname(out), { recursive: true });
    await writeFile(out, `${JSON.stringify(result, null, 1)}\n`);
    console.log(`\n${formatResult(result)}\n\nWritten to ${out}`);
    return 0;
  } catch (error) {
    console.error(systemFailure(error).message);
    return FAILURE_STATUS;
  }
}

async function readResult(path: string): Promise<BenchmarkResult> {
  return parseResult(path, await readFile(path, "utf8"));
}

/** Name of a result among those that are kept: day, time and adapter. */
function defaultPath({ head: { date, adapter } }: BenchmarkResult): string {
  const machine = [adapter.vendor, adapter.architecture, adapter.device]
    .filter((part) => part !== "")
    .join("-");
  const name = `${date.slice(0, 16)}-${machine || "unknown"}`.replaceAll(/[^\w.-]+/g, "");
  return join(RESULTS, `${name}.json`);
}

async function measureInPage({ only, jobs, repeats, gpuBudgetBytes, small }: MeasureArguments) {
  const chosen = syntheticJobs(jobs, small);
  const models = await serveModels(chosen);
  const site = await preview({
    root: ROOT,
    logLevel: "error",
    preview: { host: "127.0.0.1", port: 0, strictPort: true, open: false },
  });
  const profile = await mkdtemp(join(tmpdir(), "layerpress-bench-"));
  const run = async () => {
    const { port } = site.httpServer.address() as AddressInfo;
    return await runInBrowser(profile, `http://127.0.0.1:${port}/bench/`, {
      only,
      small,
      ...(repeats === null ? {} : { repeats }),
      ...(gpuBudgetBytes === null ? {} : { gpuBudgetBytes }),
      endToEnd: chosen.map(({ job }, index) => ({ ...job, address: models.address(index) })),
    });
  };
  return await endedBy(
    run,
    async () => await site.close(),
    models.close,
    async () => await rm(profile, { recursive: true, force: true }),
  );
}

async function serveModels(jobs: readonly SyntheticJob[]) {
  const names = jobs.map((_, index) => `synthetic/job-${index}`);
  const hosted = jobs.map(({ shape }, index) => [names[index], { files: syntheticModel(shape) }] as const);
  const server = await startModelServer({ models: Object.fromEntries(hosted) });
  return { address: (index: number) => `${server.filesUrl}/${names[index]}/`, close: server.close };
}

async function runInBrowser(
  profile: string,
  url: string,
  options: BenchmarkOptions,
): Promise<BenchmarkResult> {
  const executablePath = await findChromium();
  const context: BrowserContext = await chromium.launchPersistentContext(profile, {
    ...(executablePath ? { executablePath } : {}),
    args: chromiumFlags(),
  });
  const measure = async () => {
    const page = context.pages()[0] ?? (await context.newPage());
    page.on("console", (message) => console.log(message.text()));
    await letTell(page);
    await page.goto(url);
    const run = async (asked: BenchmarkOptions) =>
      answerOf(
        await page.evaluate(
          async (given) =>
            await globalThis.layerpressTold(async () => await globalThis.layerpressBench(given)),
          asked,
        ),
      );
    const { endToEnd: jobs = [], ...kernels } = options;
    const result = await run(kernels);
    const memory = watchHostMemory(profile);
    const endToEnd: EndToEndRow[] = [];
    for (const job of jobs) {
      await memory.reset();
      const { endToEnd: rows } = await run({ ...kernels, ...NO_KERNELS, endToEnd: [job] });
      const hostPeaks = await memory.peaks();
      endToEnd.push(...rows.map((row) => ({ ...row, hostPeaks })));
    }
    const driver = await describeDriver(context);
    return { ...result, head: { ...result.head, driver }, endToEnd };
  };
  return await endedBy(measure, async () => await context.close());
}

/** Device and driver as the browser names them to whoever started it; null where it does not. */
async function describeDriver(context: BrowserContext): Promise<string | null> {
  const session = await context.browser()?.newBrowserCDPSession();
  const { gpu } = (await session?.send("SystemInfo.getInfo")) ?? {};
  const [device] = gpu?.devices ?? [];
  return device ? `${device.deviceString}, driver ${device.driverVersion}` : null;
}
