// The GPU thread's side of the contract: one inspected model, one running job.

import type { CalibrationSet } from "../calibrate/select-sequences.ts";
import { invariant, StorageError } from "../errors.ts";
import { requestAdapter, summarizeAdapter } from "../gpu/gpu.ts";
import { forgetTuning } from "../gpu/device/tuning-store.ts";
import { deleteJobFolder, findJobFolder, folderBytes, listJobFolders } from "../offload/job-folder.ts";
import { readJournal } from "../offload/journal.ts";
import type { CompressorApi, Progress, ResultSummary, StoredJob } from "../api/compressor-api.ts";
import { compress } from "./compress.ts";
import { surveySchemes } from "./survey-schemes.ts";
import { type MeasuredSchemes, surveyOf } from "./planning/plan-survey.ts";
import { recipeWithin, surveyOptions } from "./planning/recipe-within.ts";
import type { Job } from "./job/job.ts";
import { checkFit, type FitFacts } from "./planning/check-fit.ts";
import { gpuSpeed } from "./planning/gpu-speed.ts";
import { createJobControl, type JobControl } from "./job/job-control.ts";
import { deleteRunsOf } from "./job/open-run.ts";
import { finishedResult, storedJob } from "./job/job-journal.ts";
import { rotateModel } from "./inspect/rotate-model.ts";
import { readRecipe } from "./planning/plan-job.ts";
import { modelSource, type OpenModel, openModel } from "./inspect/open-model.ts";
import { planRun, type RunPlan } from "./planning/plan-run.ts";
import { missingBytes, planTime } from "./planning/plan-time.ts";
import { withTrials } from "./planning/plan-trials.ts";
import { presetSizes } from "./planning/preset-sizes.ts";
import { withJobLock } from "./job/job-lock.ts";
import { type ProgressLog, startProgress } from "./job/progress.ts";
import { toldOfMemory } from "../page-memory.ts";
import { makeReceipt } from "./result/make-receipt.ts";
import { withPresentSizes } from "./result/record-quality.ts";
import { connectSource, type RemoteSource } from "./inspect/remote-source.ts";
import type { JobOptions } from "../api/job-options.ts";
import { endedBy } from "../ended-by.ts";

export function createCompressor(): CompressorApi {
  let source: RemoteSource | null = null;
  let model: OpenModel | null = null;
  const connected = () => {
    invariant(source, "the network thread is not connected");
    return source;
  };
  const inspected = () => {
    invariant(model, "no model was inspected");
    return model;
  };
  const planner = createPlanner();
  /** The inspected model as the recipe rotates it. */
  const chosen = (options: JobOptions) => rotateModel(inspected(), readRecipe(options.recipe).rotation);
  const planned = async (options: JobOptions) => await planner(chosen(options), options, connected());
  const runner = createRunner(connected);
  return {
    connect(port) {
      source = connectSource(port);
    },
    probe: async () => summarizeAdapter(await requestAdapter()),
    async inspect(reference, token) {
      model = await openModel(connected(), reference, token);
      return model.summary;
    },
    async plan(options) {
      const opened = chosen(options);
      const remote = modelSource(connected(), opened);
      const presets = presetSizes(inspected());
      const facts = { model: opened, source: remote, presets, ...(await gpuFacts()) };
      return await checkFit(facts, await planned(options), options);
    },
    presets: () => presetSizes(inspected()),
    start: async (options, onProgress) =>
      await withJobLock(
        async () => await runner.run(chosen(options), await planned(options), options, onProgress, compress),
      ),
    ...createSurveyor(async (options, onProgress) => {
      const job = [chosen(options), withTrials(await planned(options)), options, onProgress] as const;
      return { model: inspected(), measured: await runner.run(...job, surveySchemes) };
    }),
    moduleReports: (since) => runner.reports().slice(since),
    pause: () => runner.pause(),
    resume: () => runner.resume(),
    cancel: () => runner.cancel(),
    jobs: listJobs,
    result: readResult,
    makeReceipt,
    deleteJob,
  };
}

/** Measures schemes, and makes recipes of what was measured last, as long as the page lives. */
function createSurveyor(
  measure: (
    options: JobOptions,
    onProgress: (progress: Progress) => void,
  ) => Promise<{ readonly model: OpenModel; readonly measured: MeasuredSchemes }>,
): Pick<CompressorApi, "survey" | "mixedRecipe"> {
  let last: (Awaited<ReturnType<typeof measure>> & { readonly options: JobOptions }) | null = null;
  return {
    survey: async (asked, onProgress) =>
      await withJobLock(async () => {
        const options = surveyOptions(asked);
        last = { options, ...(await measure(options, onProgress)) };
        return surveyOf(last.measured);
      }),
    async mixedRecipe(bytes) {
      invariant(last, "nothing was measured");
      return await recipeWithin(last.model, last.options, last.measured, bytes);
    },
  };
}

/** Plans jobs. What was planned last is what is started, not planned anew. */
function createPlanner() {
  const sets = new Map<string, Promise<CalibrationSet>>();
  let last: { readonly model: OpenModel; readonly key: string; readonly plan: RunPlan } | null = null;
  return async (model: OpenModel, options: JobOptions, source: RemoteSource): Promise<RunPlan> => {
    const key = JSON.stringify(options, (_, value: unknown) =>
      value instanceof File ? fileKey(value) : value,
    );
    if (last?.model === model && last.key === key) return last.plan;
    const services = { source, adapter: summarizeAdapter(await requestAdapter()), sets };
    const plan = await planRun(model, options, services);
    last = { model, key, plan };
    return plan;
  };
}

/** Tells a file from others: a file of the same name, size and date is taken to be the same. */
function fileKey({ name, size, lastModified }: File): readonly [string, number, number] {
  return [name, size, lastModified];
}

/** With the last job goes what was measured of the GPU. */
async function deleteJob(jobId: string): Promise<void> {
  await deleteJobFolder(jobId);
  await deleteRunsOf(jobId);
  if ((await listJobFolders()).length === 0) await forgetTuning();
}

interface RunningJob {
  readonly control: JobControl;
  readonly progress: ProgressLog;
}

function createRunner(connected: () => RemoteSource) {
  let running: RunningJob | null = null;
  return {
    /** @param work what is done: takes the leading job, and those of all results */
    async run<Made>(
      model: OpenModel,
      { lead: plan, results }: RunPlan,
      options: JobOptions,
      onProgress: (progress: Progress) => void,
      work: (job: Job, jobs: readonly Job[]) => Promise<Made>,
    ): Promise<Made> {
      const source = modelSource(connected(), model);
      const time = planTime(plan, {
        downloadBytes: await missingBytes(model, plan, source),
        network: await source.progress(),
        gpu: await gpuSpeed(summarizeAdapter(await requestAdapter())),
      });
      const { steps, sourceBytes: bytes } = plan;
      const totals = { time, steps: steps.length, bytes, budgetBytes: options.gpuBudgetBytes };
      const control = createJobControl();
      const progress = startProgress(totals, control, async () => await source.progress(), onProgress);
      running = { control, progress };
      const job = { model, plan, options, source, control, progress, time };
      const jobs = results.map((result) => ({ ...job, ...result }));
      const run = async () =>
        await work(job, jobs).catch((error: unknown) => {
          throw toldOfMemory(error);
        });
      return await endedBy(run, async () => {
        progress.stop();
        running = null;
        await source.release();
      });
    },
    reports: () => running?.progress.reports ?? [],
    pause() {
      running?.control.pause();
      void connected().pause();
    },
    resume() {
      running?.control.resume();
      void connected().resume();
    },
    cancel() {
      running?.control.cancel();
      void connected().resume();
    },
  };
}

/** What a plan goes by of the GPU. */
async function gpuFacts(): Promise<Pick<FitFacts, "gpu" | "hasMatrixUnits">> {
  const adapter = summarizeAdapter(await requestAdapter());
  return { gpu: await gpuSpeed(adapter), hasMatrixUnits: adapter.matrices !== null };
}

async function listJobs(): Promise<StoredJob[]> {
  const jobs = await Promise.all(
    (await listJobFolders()).map(async (jobId) => {
      const folder = await findJobFolder(jobId);
      const records = folder && (await readJournal(folder));
      return records ? storedJob(jobId, records, await folderBytes(folder)) : null;
    }),
  );
  return jobs.filter((job) => job !== null);
}

async function readResult(jobId: string): Promise<ResultSummary> {
  const folder = await findJobFolder(jobId);
  const records = folder && (await readJournal(folder));
  const result = records ? finishedResult({ records }) : null;
  if (!result) throw new StorageError("The result is no longer in the browser’s storage.");
  return await withPresentSizes(result);
}
