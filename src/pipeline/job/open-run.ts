// The folders and journals of a run: each result has its own, with nothing in it that the others need. Hidden states, which
// serve all of them, lie beside the journal of the only result, or in a folder that the run has for as long as it lasts.

import type { ResultSummary } from "../../api/compressor-api.ts";
import { deleteJobFolder, listJobFolders, openJobFolder } from "../../offload/job-folder.ts";
import { Journal, readJournal } from "../../offload/journal.ts";
import { writeSequences } from "../calibration/samples/stored-sequences.ts";
import { digest } from "../planning/plan-job.ts";
import { beginJournal, finishedResult, isFinished } from "./job-journal.ts";
import type { Job } from "./job.ts";

/** A result's folder, opened. */
export interface OpenedResult extends Disposable {
  readonly job: Job;
  readonly folder: FileSystemDirectoryHandle;
  readonly journal: Journal;
  /** What an earlier run made; null if there is something to do. */
  readonly finished: ResultSummary | null;
}

export async function openResult(job: Job): Promise<OpenedResult> {
  const { calibration, jobId } = job.plan;
  const folder = await openJobFolder(jobId);
  const journal = await Journal.open(folder);
  try {
    const finished = finishedResult(journal);
    if (calibration && journal.records.length === 0) await writeSequences(folder, calibration.set);
    await beginJournal(journal, job);
    return { job, folder, journal, finished, [Symbol.dispose]: () => journal[Symbol.dispose]() };
  } catch (error) {
    journal[Symbol.dispose]();
    throw error;
  }
}

/** What is kept of a run beside its results. */
export interface RunFolder extends Disposable {
  readonly folder: FileSystemDirectoryHandle;
  readonly journal: Journal;
  /** Its results are there: nothing of it is wanted any more. */
  forget(): Promise<void>;
}

/** The folder of the only result, or one of the run's own; what that knows of counts only if no unfinished result lags behind. */
export async function openRunFolder(opened: readonly OpenedResult[]): Promise<RunFolder> {
  const [first, ...more] = opened;
  if (first && more.length === 0) {
    const { folder, journal } = first;
    return {
      folder,
      journal,
      forget: async () => await Promise.resolve(),
      [Symbol.dispose]: () => undefined,
    };
  }
  const jobs = opened.map(({ job }) => job.plan.jobId);
  const runId = await digest(["run", jobs.toSorted()]);
  const run = await openOwnFolder(runId, jobs);
  if (!opened.some((result) => lagsBehind(result, run.journal))) return run;
  run[Symbol.dispose]();
  await deleteJobFolder(runId);
  return await openOwnFolder(runId, jobs);
}

async function openOwnFolder(runId: string, jobs: readonly string[]): Promise<RunFolder> {
  const folder = await openJobFolder(runId);
  const journal = await Journal.open(folder);
  if (journal.records.length === 0) journal.append({ type: "run", jobs });
  return {
    folder,
    journal,
    async forget() {
      journal[Symbol.dispose]();
      await deleteJobFolder(runId);
    },
    [Symbol.dispose]: () => journal[Symbol.dispose](),
  };
}

function lagsBehind({ job, journal, finished }: OpenedResult, run: Journal): boolean {
  return !finished && job.plan.steps.some((step) => isFinished(run, step) && !isFinished(journal, step));
}

/** Deletes what runs keep that a job belongs to. */
export async function deleteRunsOf(jobId: string): Promise<void> {
  for (const name of await listJobFolders()) {
    const records = await readJournal(await openJobFolder(name));
    const run = records?.find(({ type }) => type === "run");
    if (Array.isArray(run?.["jobs"]) && run["jobs"].includes(jobId)) await deleteJobFolder(name);
  }
}
