// Drives the built page as a person would: source in, recipe chosen, result downloaded. What it prints last, and its exit
// status, are a contract with those who script it.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "playwright";
import { formatBytes } from "../../src/formats/format-bytes.ts";
import type { FitReport, ResultSummary } from "../../src/api/compressor-api.ts";
import type { CompressRequest } from "../../src/api/script-api.ts";
import {
  COMPRESS_USAGE,
  type CompressArguments,
  readCompressArguments,
  UsageError,
} from "./compress-arguments.ts";
import { followProgress } from "./follow-progress.ts";
import { openPage } from "./open-page.ts";
import { saveFiles } from "./save-files.ts";

const USAGE_STATUS = 2;
const FAILURE_STATUS = 1;

/** Runs `npm run compress`; resolves to the exit status: 0, 1 (the job failed), 2 (the command line is wrong). */
export async function compressFromCommandLine(args: readonly string[]): Promise<number> {
  try {
    const parsed = readCompressArguments(args);
    if (!parsed) {
      console.log(COMPRESS_USAGE);
      return 0;
    }
    return await compress(parsed);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${COMPRESS_USAGE}`);
    if (args.includes("--json")) console.log(JSON.stringify(failed(error)));
    return USAGE_STATUS;
  }
}

async function compress(args: CompressArguments): Promise<number> {
  const work = join(args.out, ".layerpress");
  await mkdir(work, { recursive: true });
  try {
    const result = await runInPage(args, work);
    console.log(`Wrote ${result.files.length} files (${formatBytes(result.resultBytes)}) to ${args.out}.`);
    if (args.json) console.log(JSON.stringify(succeeded(result)));
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    console.error(`What was finished is kept in ${work}; the same command goes on from there.`);
    if (args.json) console.log(JSON.stringify(failed(error)));
    return FAILURE_STATUS;
  }
}

/** What the job made, and what the plan said of servers. */
type Outcome = ResultSummary & Pick<FitReport, "serverNotes" | "servableRecipe">;

async function runInPage(args: CompressArguments, work: string): Promise<Outcome> {
  const opened = await openPage(work, args.out);
  let result: Outcome;
  {
    await using page = opened;
    result = await runJob(page.page, args);
    await saveFiles(page.page, result.files, args.out);
  }
  await opened.forget();
  return result;
}

async function runJob(page: Page, args: CompressArguments): Promise<Outcome> {
  const progress = followProgress(page, (line) => console.log(line));
  try {
    if (args.source.kind === "folder")
      await page.setInputFiles('input[type="file"][aria-label="Model folder"]', args.source.text);
    return await askPage(page, requestOf(args));
  } finally {
    progress[Symbol.dispose]();
  }
}

/** Playwright rewrites errors that cross from the page; the page's own sentence crosses as a value. */
async function askPage(page: Page, request: CompressRequest): Promise<Outcome> {
  const outcome = await page.evaluate(async (asked) => {
    try {
      const { result, fit } = await globalThis.layerpress.compress(asked);
      return { result: { ...result, serverNotes: fit.serverNotes, servableRecipe: fit.servableRecipe } };
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      return { failure: { name, message } };
    }
  }, request);
  if (outcome.result) return outcome.result;
  throw Object.assign(new Error(outcome.failure.message), { name: outcome.failure.name });
}

function requestOf({
  source,
  token,
  recipe,
  calibration,
  gpuBudgetBytes,
  keepSource,
}: CompressArguments): CompressRequest {
  return {
    source: source.kind === "address" ? source.text : null,
    token,
    recipe,
    calibration,
    gpuBudgetBytes,
    keepSource,
  };
}

function succeeded(outcome: Outcome) {
  const { files, peakGpuBytes, seconds, resultBytes, bitsPerWeight, worstSubmitMs, notes } = outcome;
  const { serverNotes, servableRecipe } = outcome;
  const figures = { peakGpuBytes, seconds, resultBytes, bitsPerWeight, worstSubmitMs };
  return { ok: true, files, ...figures, notes, serverNotes, servableRecipe };
}

function failed(error: unknown) {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return { ok: false, error: { name, message } };
}
