// Drives the built page as a person would: source in, recipe chosen, result downloaded. What it prints last, and its exit
// status, are a contract with those who script it.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Page } from "playwright";
import { inOneLine } from "../../src/errors.ts";
import { formatBytes } from "../../src/formats/text/format-bytes.ts";
import { advisedGroupSize } from "../../src/formats/schemes/group-size-advice.ts";
import type { OutputFile, Progress } from "../../src/api/compressor-api.ts";
import type { Published } from "../../src/api/publisher-api.ts";
import type { Receipt } from "../../src/api/receipt.ts";
import { UsageError } from "./arguments/argument-readers.ts";
import { type ChosenSize, compressInPage, type Outcome, planInPage } from "./page/ask-page.ts";
import {
  COMPRESS_USAGE,
  type CompressArguments,
  type PlanArguments,
  readCompressArguments,
} from "./arguments/compress-arguments.ts";
import { checkPlaces, strangersNote } from "./check-places.ts";
import { type Comparison, compareReceipts } from "./compare-receipts.ts";
import { divideJob, divisionLines } from "./divide-job.ts";
import { type MovedBytes, openFileExchange } from "./exchange/exchange-files.ts";
import { followProgress } from "./page/follow-progress.ts";
import { InterruptedError } from "./page/interruption.ts";
import { type OpenPage, openPage, profileIn } from "./page/open-page.ts";
import { answerOf } from "./page/told.ts";
import { pushResult } from "./page/push-result.ts";
import { readReceipt } from "./read-receipt.ts";
import { saveFiles } from "./page/save-files.ts";
import { type SampleOfPage, takeStored } from "./page/take-stored.ts";
import { openWorkFolder } from "./work-folder.ts";
import { RECEIPT } from "../../src/formats/files/result-documents.ts";
import { systemFailure } from "./system-failure.ts";
import { endedBy, undoneBy } from "../../src/ended-by.ts";

const USAGE_STATUS = 2;
const FAILURE_STATUS = 1;
/** The folder is written, but it is not what the receipt says. */
const DIFFERENT_STATUS = 3;
/** A page that is not asked in vain answers within this time. */
const ANSWER_MS = 2000;

/**
 * Runs `npm run compress`; resolves to the exit status: 0, 1 (the job failed), 2 (the command line is wrong), 3 (a replay gave other
 * bytes), 128 + N (signal N).
 */
export async function compressFromCommandLine(args: readonly string[]): Promise<number> {
  try {
    const parsed = readCompressArguments(args);
    if (!parsed) {
      console.log(COMPRESS_USAGE);
      return 0;
    }
    return "out" in parsed ? await compress(parsed) : await printParts(parsed);
  } catch (thrown) {
    const isUsage = thrown instanceof UsageError;
    const error = systemFailure(thrown);
    if (error === thrown && !isUsage) throw thrown;
    // Not the options themselves, which would scroll the sentence out of sight.
    console.error(
      isUsage ? `${error.message} “npm run compress -- --help” lists all options.` : error.message,
    );
    if (args.includes("--json")) console.log(JSON.stringify(failed(error)));
    return USAGE_STATUS;
  }
}

async function compress(args: CompressArguments): Promise<number> {
  const job: JobInPage = { results: [], chosen: null, left: null };
  try {
    await compressInFolder(args, job);
    const [result] = job.results;
    if (!result) throw new Error("The page ended the job without a result.");
    for (const { files, resultBytes, folder, notes } of job.results) {
      console.log(`Wrote ${files.length} files (${formatBytes(resultBytes)}) to ${folder}.`);
      for (const note of notes) console.log(inOneLine(`Note: ${note}`));
    }
    if (result.moved)
      console.log(
        `Gave ${formatBytes(result.moved.given)} to the other shares, and took ${formatBytes(result.moved.taken)}.`,
      );
    if (result.published)
      console.log(`Published as ${result.published.url}, commit ${result.published.commit}.`);
    // Of shares, the first alone writes what the receipt tells of.
    const written = result.files.length > 0;
    const replay = args.receipt && written ? await compareWith(args.receipt, args.out) : null;
    if (replay) console.log(replay.sentence);
    const extras = { ...(job.chosen && { chosen: job.chosen }), ...(replay && { replay }) };
    if (args.json) console.log(JSON.stringify({ ...sumUp(args, job.results), ...extras }));
    return replay && !replay.equal ? DIFFERENT_STATUS : 0;
  } catch (thrown) {
    const error = systemFailure(thrown);
    const { message } = error;
    const size = args.recipe.text.includes(":") ? null : advisedGroupSize(message);
    const remedy = size === null ? null : `Add --group-size ${size}.`;
    console.error([message, remedy, job.left].filter((sentence) => sentence !== null).join(" "));
    if (args.json) console.log(JSON.stringify(failed(error)));
    return error instanceof InterruptedError ? error.status : FAILURE_STATUS;
  }
}

/** Prints how the job is divided. */
async function printParts(args: PlanArguments): Promise<number> {
  const work = await mkdtemp(join(tmpdir(), "layerpress-plan-"));
  const run = async () => {
    await using page = await openPage(work);
    return await page.during(planInPage(page.page, args));
  };
  try {
    const plan = await endedBy(
      run,
      async () => await rm(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }),
    );
    const division = divideJob(plan.partCosts, args.parts);
    for (const line of divisionLines(division)) console.log(line);
    if (args.json) console.log(JSON.stringify({ ok: true, ...division }));
    return 0;
  } catch (thrown) {
    const error = systemFailure(thrown);
    console.error(error.message);
    if (args.json) console.log(JSON.stringify(failed(error)));
    return error instanceof InterruptedError ? error.status : FAILURE_STATUS;
  }
}

/** Bytes that a share gave to the others and took from them; null of a job that shares nothing. */
interface Moved {
  readonly moved: Readonly<MovedBytes> | null;
}

/** What one recipe made, and where it lies. */
interface Written extends Outcome, Moved {
  readonly folder: string;
  readonly published: Published | null;
}

/** What became of a job: its results, or a sentence on what is left of it. */
interface JobInPage {
  results: readonly Written[];
  /** Where a size was wished for. */
  chosen: ChosenSize | null;
  left: string | null;
}

/** Deletes the working folder unless something in it is worth going on with. */
async function compressInFolder(args: CompressArguments, job: JobInPage): Promise<void> {
  await checkPlaces(args.out, args.folders);
  await using work = await openWorkFolder(args.out);
  let keeps = work.continued;
  const run = async () => {
    await using exchange = args.share && (await openFileExchange(args.share, profileIn(work.path)));
    await using page = await openPage(work.path, args.out, exchange ? [exchange.plugin] : []);
    const progress = followProgress(page.page, (line) => console.log(line));
    const make = async () => {
      const { results, chosen } = await page.during(compressInPage(page.page, args));
      job.chosen = chosen;
      const written: Written[] = [];
      for (const [index, result] of results.entries()) {
        const from = { ...page, profile: profileIn(work.path) };
        const saved = await page.during(save(from, result, args, args.folders[index] ?? ""));
        written.push({ ...saved, moved: exchange?.moved ?? null });
      }
      job.results = written;
      keeps = false;
    };
    const look = async () => {
      keeps = keeps || (await isKept(page.page, progress.progress));
    };
    await endedBy(
      async () => await undoneBy(make, look),
      () => progress[Symbol.dispose](),
    );
  };
  await endedBy(run, async () => {
    if (keeps) job.left = `What was finished is kept in ${work.path}; the same command goes on from there.`;
    else await work.forget();
  });
}

/** Saves one of the results into its folder, with its receipt, and publishes it where that is asked for. */
async function save(
  { page, received, profile }: Pick<OpenPage, "page" | "received"> & { readonly profile: string },
  result: Outcome,
  args: CompressArguments,
  inside: string,
): Promise<Omit<Written, "moved">> {
  if (inside !== "")
    await page.evaluate(async (jobId) => await globalThis.layerpress.show(jobId), result.jobId);
  // Hidden states are no result that anybody would make again and compare; most shares write none.
  const isResult = args.part?.kind !== "states" && result.files.length > 0;
  const sample: SampleOfPage = async (path, places) =>
    await page.evaluate(async ([of, at]) => await globalThis.layerpress.sample(of, at).catch(() => null), [
      path,
      places,
    ] as const);
  const taken = await takeStored(profile, result.files, join(args.out, inside), sample);
  const sent = result.files.filter(({ path }) => !taken.has(path));
  await saveFiles(page, sent, args.out, inside);
  // All are hashed by then, several times as fast as the page does.
  const known = Object.fromEntries(
    result.files.flatMap(({ path }) => {
      const hash = taken.get(path) ?? received.get(join(inside, path));
      return hash === undefined ? [] : [[path, hash] as const];
    }),
  );
  const files = isResult ? await addReceipt(page, known) : result.files;
  const added = files.filter(({ path }) => result.files.every((file) => file.path !== path));
  await saveFiles(page, added, args.out, inside);
  const folder = join(args.out, inside);
  const beside = isResult
    ? await strangersNote(
        folder,
        files.map(({ path }) => path),
      )
    : [];
  const published = args.push && (await pushResult(page, args.push));
  return { ...result, files, notes: [...result.notes, ...beside], folder, published };
}

/** Whether the page has something to go on with: it is asked, or, where it is gone, what it said last. */
async function isKept(page: Page, last: Progress | null): Promise<boolean> {
  const asked = page
    .evaluate(async () => await globalThis.layerpress.kept())
    .then(({ finishedSteps, downloadedBytes }) => finishedSteps > 0 || downloadedBytes > 0);
  const told = (last?.step ?? 0) > 1 || (last?.source.storedBytes ?? 0) > 0;
  return await Promise.race([asked.catch(() => told), delay(ANSWER_MS, told, { ref: false })]);
}

/** Has the page make the result's receipt. */
async function addReceipt(
  page: Page,
  known: Readonly<Record<string, string>>,
): Promise<readonly OutputFile[]> {
  return answerOf(
    await page.evaluate(
      async (hashes) =>
        await globalThis.layerpressTold(async () => await globalThis.layerpress.receipt(hashes)),
      known,
    ),
  );
}

async function compareWith(receipt: Receipt, out: string): Promise<Comparison> {
  const path = join(out, RECEIPT);
  return compareReceipts(receipt, readReceipt(await readFile(path, "utf8"), path));
}

/** The result; of several recipes, one each, with the folder that it lies in. */
function sumUp({ folders }: CompressArguments, results: readonly Written[]) {
  const [only] = results;
  if (only && folders.length === 0) return succeeded(only);
  return { ok: true, results: results.map((result) => ({ ...succeeded(result), folder: result.folder })) };
}

function succeeded(outcome: Written) {
  const { files, peakGpuBytes, plannedGpuBytes, seconds, resultBytes, bitsPerWeight, worstSubmitMs, notes } =
    outcome;
  const { serverNotes, servableRecipe, published, moved } = outcome;
  const figures = { peakGpuBytes, plannedGpuBytes, seconds, resultBytes, bitsPerWeight, worstSubmitMs };
  const pushed = published ? { published } : {};
  return {
    ok: true,
    files,
    ...figures,
    notes,
    serverNotes,
    servableRecipe,
    ...pushed,
    ...(moved && { moved }),
  };
}

function failed(error: unknown) {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return { ok: false, error: { name, message } };
}
